"""Gunicorn's configuration as it is, but for how long a reader may take nothing."""

from connect import gunicorn

gunicorn.SLOW_READER_S = 1

from connect.gunicorn import *  # noqa: E402, F403
