"""Gunicorn's configuration with short timeouts for slow readers and slow bodies, and frequent heartbeats."""

from typing import Any

from connect import gunicorn

gunicorn.SLOW_READER_S = 1

from connect.gunicorn import *  # noqa: E402, F403


def post_fork(server: Any, worker: Any) -> None:
    """Before the worker loads the application: it reads these when it serves."""
    from connect import request_body, responses  # noqa: PLC0415 - in the worker, not in gunicorn's master

    responses.SLOW_READER_S = request_body.SMALL_BODY_S = request_body.BODY_S = 1
    request_body.MIN_BYTES_PER_S = 10**9


def post_worker_init(worker: Any) -> None:
    """After it: these need its settings."""
    from encounters.live import readers  # noqa: PLC0415

    readers.HEARTBEAT_S = 1.0
