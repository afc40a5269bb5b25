"""Gunicorn's configuration for every web process: `gunicorn --config python:connect.gunicorn connect.wsgi`.

Threads, not ASGI: under ASGI Django would collect a synchronous stream in memory.
"""

import json
import os
import socket

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "connect.settings")

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from gunicorn import util
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from connect import listening

SLOW_READER_S = 30

bind = "127.0.0.1:8000" if settings.ACCESS == "open" else "0.0.0.0:8000"
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


def _write_error(sock: socket.socket, status_int: int, reason: str, mesg: str) -> None:
    """What gunicorn itself says of a request that never reaches Django, in DRF's shape instead of HTML."""
    body = json.dumps({"detail": f"{reason}. {mesg}"})
    head = f"HTTP/1.1 {status_int} {reason}\r\nConnection: close\r\nContent-Type: application/json\r\n"
    util.write_nonblock(sock, f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode("ascii", "replace"))


util.write_error = _write_error  # the only way to have it otherwise: there is no setting


def when_ready(server: Arbiter) -> None:
    """Refuses an open door on the network. Cuts off readers that take nothing: accepted sockets inherit the
    listener's timeout.

    Not the send timeout, which a send that had room for its beginning waits for twice.
    """
    try:
        server.log.info(listening.check([listener.sock.getsockname()[0] for listener in server.LISTENERS]))
    except ImproperlyConfigured as fault:
        raise HaltServer(str(fault), exit_status=2) from None
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SLOW_READER_S * 1000)
