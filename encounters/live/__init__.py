"""The stream of live events: `GET /api/live`. See docs/live.md."""
