"""Gunicorn's configuration for web processes: `gunicorn --config python:connect.gunicorn connect.asgi`."""

import asyncio
import json
import logging
import os
import socket
from http import HTTPStatus
from typing import Any, NoReturn, cast

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "connect.settings")

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn_worker import UvicornWorker

from connect import bind_check
from connect.request_body import DRAIN, UNKNOWN_DRAIN, Drain
from connect.responses import STOP

SLOW_READER_S = 30
LINE_LIMIT = 8190  # bytes of a URL: enough for 300 long ids, the batch size of connections for persons
FIELDS_LIMIT = 100
HEAD_LIMIT = 64 * 1024  # bytes
LAST_CALL_S = 10.0  # longer than the proxy keeps an idle connection (k8s/proxy/defaults.cfg)
CLOSES = "connect.closes"  # scope key: the connection closes after this request

bind = "127.0.0.1:8000" if settings.ACCESS == "open" else "0.0.0.0:8000"
worker_class = "connect.gunicorn.Worker"
workers = settings.WEB_WORKERS
keepalive = 75
timeout = 60
graceful_timeout = 60
worker_tmp_dir = "/dev/shm"  # noqa: S108 - the heartbeat file is in memory, so a busy disk kills no worker
errorlog = "-"
accesslog = None
control_socket_disable = True  # all processes of a user would share one socket file


class Protocol(HttpToolsProtocol):
    """One client connection.

    Invalid HTTP and oversized heads get an error in DRF's shape. The rest of a refused body is read and
    discarded for a while (connect.request_body.Drain), because a client that is still sending would miss the
    response.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._heads, self._in_head, self._head_size = 0, True, 0
        self._refusal = HTTPStatus.BAD_REQUEST, "This is not a request that HTTP allows."
        self._draining: asyncio.TimerHandle | None = None
        self._left_to_drain = 0
        self._is_refused = False
        self._is_last_call = False

    def shutdown(self) -> None:
        """The process ends. An idle connection stays for LAST_CALL_S and takes one more request.

        The proxy may be sending one at this moment, and a POST that meets a closed connection is lost.
        """
        self._is_last_call = True
        if self.cycle is not None and not self.cycle.response_complete:
            if stop := cast("dict[str, Any]", self.cycle.scope).get(STOP):
                stop()
            super().shutdown()  # closes after the response
            return
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(LAST_CALL_S, self.timeout_keep_alive_handler)

    def data_received(self, data: bytes) -> None:
        if self._draining is not None:
            self._left_to_drain -= len(data)
            if self._left_to_drain < 0:
                self.transport.close()
            if self._is_refused or self.transport.is_closing():
                return
        before = self._heads, self._in_head
        super().data_received(data)
        if self._is_refused or self.transport.is_closing():
            return
        if (self._heads, self._in_head) == before == (self._heads, True):
            self._head_size += len(data)
            if self._head_size > HEAD_LIMIT:
                self._refusal = self._too_large
                self.send_400_response("")

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if len(self.headers) > FIELDS_LIMIT:
            self._refuse(*self._too_large)

    def on_headers_complete(self) -> None:
        if len(self.url) > LINE_LIMIT:
            self._refuse(HTTPStatus.REQUEST_URI_TOO_LONG, f"At most {LINE_LIMIT} bytes are allowed.")
        super().on_headers_complete()
        # Uvicorn would close right after the response, even if the client is still sending.
        cast("dict[str, Any]", self.scope)[CLOSES] = not self.cycle.keep_alive
        self.cycle.keep_alive = not self._is_last_call
        self._heads, self._in_head, self._head_size = self._heads + 1, False, 0

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head = True
        if self._draining is not None:
            self._draining.cancel()
            self._draining = None
            if self.scope.get(CLOSES):
                self.transport.close()
            else:
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive, self.timeout_keep_alive_handler
                )

    def on_response_complete(self) -> None:
        cycle = self.cycle
        super().on_response_complete()
        if self.transport.is_closing() or not cycle.response_complete:  # of another request
            return
        if cycle.more_body:
            self._unset_keepalive_if_required()
            self._drain(cast("dict[str, Any]", cycle.scope).get(DRAIN, UNKNOWN_DRAIN))
        elif cycle.scope.get(CLOSES):
            self.transport.close()

    def _drain(self, drain: Drain) -> None:
        self._left_to_drain = drain.size
        self._draining = self.loop.call_later(drain.within_s, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._draining is not None:
            self._draining.cancel()
        super().connection_lost(exc)

    _too_large = (
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        f"At most {FIELDS_LIMIT} header fields and {HEAD_LIMIT} bytes are allowed.",
    )

    def _refuse(self, status: HTTPStatus, message: str) -> NoReturn:
        """Stops the parser, which then calls send_400_response."""
        self._refusal = status, message
        raise ValueError(message)

    def send_400_response(self, msg: str) -> None:
        status, message = self._refusal
        body = json.dumps({"detail": message})
        head = f"HTTP/1.1 {status} {status.phrase}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        self.transport.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        is_idle = self._draining is None and (self.cycle is None or self.cycle.response_complete)
        if is_idle and self.transport.can_write_eof():
            self.transport.write_eof()
            self._is_refused = True
            self._drain(UNKNOWN_DRAIN)
        else:  # another response is in progress; close the connection
            self.transport.close()


class Worker(UvicornWorker):
    CONFIG_KWARGS = {
        "loop": "uvloop",
        "http": Protocol,
        "ws": "none",
        "lifespan": "off",
        "interface": "asgi3",
        "proxy_headers": False,  # connect.middleware.client_address decides
        "server_header": False,
        "access_log": False,
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)


def when_ready(server: Arbiter) -> None:
    """Checks the bind addresses, and sets the timeout for slow readers, which accepted sockets inherit.

    SO_SNDTIMEO does not work for that: a send that had room for its first bytes waits for it twice.
    """
    try:
        server.log.info(bind_check.check([listener.sock.getsockname()[0] for listener in server.LISTENERS]))
    except ImproperlyConfigured as fault:
        raise HaltServer(str(fault), exit_status=2) from None
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SLOW_READER_S * 1000)
