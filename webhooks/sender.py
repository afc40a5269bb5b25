"""Sends one signed message to one webhook: a POST to an address that was checked, with a deadline.

The signature is that of Standard Webhooks (https://www.standardwebhooks.com). A redirect is a failure: the
receiver can change the URL instead, and no second address needs a check.
"""

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import urllib3
from standardwebhooks.webhooks import Webhook as Signer
from urllib3.connection import HTTPConnection, HTTPSConnection

from connect import __version__
from webhooks import addresses
from webhooks.addresses import Target

CONNECT_TIMEOUT_S = 5.0
DEADLINE_S = 15.0  # for everything after the name is resolved
MAX_ADDRESSES = 3  # tried until one accepts the connection
MAX_ANSWER = 2048  # bytes read of an answer that is a failure, for its reason
GONE = 410

_FAULTS = (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)


class Outcome(NamedTuple):
    """`status` is None without an answer; `reason` is empty if it was delivered."""

    status: int | None
    reason: str = ""

    @property
    def is_delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def send(url: str, secret: str, message_id: str, body: bytes) -> Outcome:
    """Never raises for what the receiver does."""
    try:
        target = addresses.parse(url)
        found = addresses.resolve(target)
    except (addresses.Forbidden, OSError) as fault:
        return Outcome(None, str(fault))
    now = datetime.now(UTC)
    headers = {
        "Host": target.authority,
        "User-Agent": f"Connect/{__version__}",
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Signer(secret).sign(message_id, now, body.decode()),
    }
    watch = _Watch()
    with watch.limited():
        try:
            outcome = _post(target, found[:MAX_ADDRESSES], headers, body, watch)
        except (*_FAULTS, ValueError) as fault:
            outcome = Outcome(None, f"{type(fault).__name__}: {fault}")
    # Also if there is a status: to http.client the end of the connection is the end of the headers.
    return Outcome(None, f"There was no answer within {DEADLINE_S:g} s.") if watch.has_fired else outcome


def _post(target: Target, found: list[str], headers: dict[str, str], body: bytes, watch: "_Watch") -> Outcome:
    connection = _connect(target, found, watch)
    try:
        connection.timeout = DEADLINE_S
        connection.request(
            "POST", target.path, body=body, headers=headers, preload_content=False, decode_content=False
        )
        answer = connection.getresponse()
        if 200 <= answer.status < 300:
            return Outcome(answer.status)
        if 300 <= answer.status < 400:
            return Outcome(answer.status, "Redirects are not followed.")
        try:
            text = answer.read(MAX_ANSWER).decode(errors="replace")
        except _FAULTS:
            text = ""
        return Outcome(answer.status, f"Answered {answer.status}: {text}".rstrip(": "))
    finally:
        connection.close()


def _connect(target: Target, found: list[str], watch: "_Watch") -> HTTPConnection:
    """A connection to the first of these addresses that accepts one; the name is not resolved again.

    Raises the fault of the last address.
    """
    for number, address in enumerate(found, 1):
        connection = _connection(target, address, watch)
        try:
            connection.connect()
        except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError):
            connection.close()
            if number == len(found) or watch.has_fired:
                raise
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise OSError("The name has no address.")


def _connection(target: Target, address: str, watch: "_Watch") -> HTTPConnection:
    if not target.is_tls:
        return _Plain(address, target.port, timeout=CONNECT_TIMEOUT_S, on_connected=watch.take)
    return _Tls(
        address,
        target.port,
        timeout=CONNECT_TIMEOUT_S,
        on_connected=watch.take,
        server_hostname=target.host,
        assert_hostname=target.host,
    )


class _Plain(HTTPConnection):
    """Passes on its socket as soon as it is connected, before the TLS handshake."""

    def __init__(self, *args: Any, on_connected: Callable[[socket.socket], None], **more: Any):
        super().__init__(*args, **more)
        self._on_connected = on_connected

    def _new_conn(self) -> socket.socket:
        found = super()._new_conn()
        self._on_connected(found)
        return found


class _Tls(_Plain, HTTPSConnection):
    pass


class _Watch:
    """Ends a connection at the deadline. The timeouts of a socket restart with each byte that arrives."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._copy: socket.socket | None = None
        self.has_fired = False

    def take(self, connected: socket.socket) -> None:
        """Watches this socket. A copy, because TLS takes the descriptor out of the original."""
        with self._lock:
            self._drop()
            self._copy = connected.dup()
            if self.has_fired:
                self._shut_down()

    @contextmanager
    def limited(self) -> Iterator[None]:
        timer = threading.Timer(DEADLINE_S, self._fire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            with self._lock:
                self._drop()

    def _fire(self) -> None:
        with self._lock:
            self.has_fired = True
            self._shut_down()

    def _shut_down(self) -> None:
        if self._copy is not None:
            try:
                self._copy.shutdown(socket.SHUT_RDWR)
            except OSError:  # the receiver was faster
                return

    def _drop(self) -> None:
        if self._copy is not None:
            self._copy.close()
            self._copy = None
