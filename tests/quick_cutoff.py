"""Gunicorn's configuration with short timeouts for slow readers and slow bodies."""

from typing import Any

from connect import gunicorn

gunicorn.SLOW_READER_S = 1

from connect.gunicorn import *  # noqa: E402, F403


def post_fork(server: Any, worker: Any) -> None:
    """Before the worker loads the application: it reads these when it serves."""
    from connect import asgi, receiving  # noqa: PLC0415 - in the worker, not in gunicorn's master

    asgi.SLOW_READER_S = receiving.SMALL_BODY_S = receiving.BODY_S = 1
    receiving.PACE = 10**9
