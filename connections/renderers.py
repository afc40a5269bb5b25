"""The encounters of one person as CSV."""

from typing import Any

from connect.web import renderers
from connect.web.renderers import PERSON_FIELDS


class Csv(renderers.Csv):
    """CSV with a header; times in UTC, distances in metres, durations in seconds."""

    person_columns = [f"person_{name}" if name == "id" else name for name in PERSON_FIELDS]
    fields = ("start", "end", "duration_s", "pings", "min_distance_m", "latitude", "longitude")

    def people(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        return [row["person"]]
