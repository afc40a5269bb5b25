"""Gunicorn's configuration for every web process: `gunicorn --config python:connect.gunicorn connect.wsgi`.

Threads, not ASGI: under ASGI Django would collect a synchronous stream in memory.
"""

import os
import socket
import struct

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "connect.settings")

from django.conf import settings
from gunicorn.arbiter import Arbiter

SLOW_READER_S = 30

bind = "0.0.0.0:8000"
worker_class = "gthread"
workers = settings.WEB_WORKERS
threads = settings.WEB_THREADS
keepalive = 75
limit_request_line = 8190  # 300 long ids, what connections ask persons for at once
timeout = 60
graceful_timeout = 60
worker_tmp_dir = "/dev/shm"  # noqa: S108 - a heartbeat file, on memory so that a busy disk kills no worker
errorlog = "-"
accesslog = None
control_socket_disable = True  # it would be one file for all processes of a user
forwarded_allow_ips = "*"


def when_ready(server: Arbiter) -> None:
    """Cuts off readers that take nothing: accepted sockets inherit the listener's send timeout."""
    for listener in server.LISTENERS:
        timeval = struct.pack("ll", SLOW_READER_S, 0)
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)
