"""Gunicorn's configuration as it is, but with less patience for those who read or send slowly."""

from connect import arrival, gunicorn

gunicorn.SLOW_READER_S = 1
arrival.BODY_S = 1

from connect.gunicorn import *  # noqa: E402, F403
