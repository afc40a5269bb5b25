"""Gunicorn's configuration for web processes: `gunicorn --config python:connect.gunicorn connect.asgi`."""

import json
import os
import socket
from http import HTTPStatus
from typing import Any
from weakref import WeakSet

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "connect.settings")

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from gunicorn.arbiter import Arbiter
from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.errors import HaltServer
from gunicorn.workers import gasgi

from connect import listening

SLOW_READER_S = 30

bind = "127.0.0.1:8000" if settings.ACCESS == "open" else "0.0.0.0:8000"
worker_class = "connect.gunicorn.Worker"
asgi_lifespan = "off"
asgi_loop = "uvloop"
workers = settings.WEB_WORKERS
keepalive = 75
limit_request_line = 8190  # 300 long ids, what connections ask persons for at once
timeout = 60
graceful_timeout = 60
worker_tmp_dir = "/dev/shm"  # noqa: S108 - a heartbeat file, on memory so that a busy disk kills no worker
errorlog = "-"
accesslog = None
control_socket_disable = True  # it would be one file for all processes of a user
forwarded_allow_ips = "*"


class Protocol(ASGIProtocol):
    """One connection to a client."""

    def __init__(self, worker: "Worker") -> None:
        super().__init__(worker)
        worker.connections.add(self)

    def close_if_idle(self) -> None:
        if self._awaiting_request:
            self._keepalive_timeout()

    def _send_error_response(self, status: int, message: str, extra_headers: Any = ()) -> None:
        """Answer a request that never reaches Django in DRF's shape instead of plain text."""
        reason = HTTPStatus(status).phrase
        if status == HTTPStatus.REQUEST_URI_TOO_LONG:
            message = f"At most {limit_request_line} bytes are allowed."
        body = json.dumps({"detail": f"{reason}. {message}"})
        head = f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        more = "".join(f"{name}: {value}\r\n" for name, value in extra_headers)
        answer = f"{head}{more}Content-Length: {len(body)}\r\n\r\n{body}"
        self._safe_write(answer.encode("ascii", "replace"))


gasgi.ASGIProtocol = Protocol  # gunicorn has no setting for it


class Worker(gasgi.ASGIWorker):
    """Closes idle connections when it is asked to stop.

    Gunicorn's own worker waits for all clients to leave, for `graceful_timeout`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connections: WeakSet[Protocol] = WeakSet()

    async def _shutdown(self) -> None:
        for each in tuple(self.connections):
            each.close_if_idle()
        await super()._shutdown()


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
