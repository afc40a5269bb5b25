"""Connections of an attacker: many at once, held open, and opened again when the system closes them."""

import resource
import select
import socket
import time
from collections.abc import Callable, Iterator

from hpack import Encoder
from hyperframe.frame import Frame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame

TICK_S = 0.25
# So that an attack is bounded whatever the system does.
OPENED_PER_TICK = 200
SENDS_PER_TICK = 20
GRPC = "/connect.locations.v1.LocationService/"


def ticks(seconds: float, every_s: float = TICK_S) -> Iterator[int]:
    """Counts up, once in so many seconds, until the time is over."""
    ends = time.monotonic() + seconds
    number = 0
    while time.monotonic() < ends:
        yield number
        number += 1
        time.sleep(every_s)


def allow_sockets() -> None:
    """As many open files as the user may have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Crowd:
    """So many connections to one port. Each sends `first`, then at each `drip` what `more` gives."""

    def __init__(
        self, port: int, count: int, *, first: bytes = b"", more: Callable[[], bytes] = lambda: b""
    ) -> None:
        self.port, self.count, self.first, self.more = port, count, memoryview(first), more
        self.open: dict[socket.socket, memoryview] = {}  # what each still has to send
        allow_sockets()

    def fill(self) -> None:
        """Notices which connections the system closed, and opens others for them."""
        for connection in self._readable():
            try:
                closed = not connection.recv(65536)
            except BlockingIOError:
                continue
            except OSError:
                closed = True
            if closed:
                self._close(connection)
        for _ in range(min(OPENED_PER_TICK, self.count - len(self.open))):
            connection = socket.socket()
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", self.port))
            self.open[connection] = self.first
        self._flush()

    def drip(self) -> None:
        for connection, left in self.open.items():
            self.open[connection] = left or memoryview(self.more())
        self._flush()

    def _flush(self) -> None:
        for connection in [one for one, left in self.open.items() if left]:
            try:
                for _ in range(SENDS_PER_TICK):
                    left = self.open[connection]
                    self.open[connection] = left[connection.send(left) :]
            except BlockingIOError:
                continue
            except OSError:
                self._close(connection)

    def _readable(self) -> list[socket.socket]:
        poll = select.poll()
        by_number = {one.fileno(): one for one in self.open}
        for number in by_number:
            poll.register(number, select.POLLIN)
        return [by_number[number] for number, _ in poll.poll(0)]

    def _close(self, connection: socket.socket) -> None:
        self.open.pop(connection, None)
        connection.close()


class Http2:
    """One HTTP/2 connection. Its streams consist of a HEADERS frame and never send a message."""

    def __init__(self, port: int, path: str, *, streams: int, token: str | None = None) -> None:
        self.port, self.path, self.streams, self.token = port, path, streams, token
        self.connection: socket.socket | None = None
        self.open: set[int] = set()
        self.next = 1
        self.received = b""

    def fill(self) -> None:
        """Answers what the protocol demands, and opens streams until there are enough."""
        try:
            if self.connection is None:
                self._connect()
            self._receive()
            for _ in range(min(OPENED_PER_TICK, self.streams - len(self.open))):
                self._open_stream()
        except OSError:
            self._close()

    def _connect(self) -> None:
        self.connection = socket.create_connection(("127.0.0.1", self.port), timeout=2)
        self.open, self.next, self.received = set(), 1, b""
        self.encoder = Encoder()
        self.connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize())
        self.connection.settimeout(0.1)

    def _open_stream(self) -> None:
        head = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", self.path),
            (":authority", "127.0.0.1"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ]
        if self.token:
            head.append(("authorization", f"Bearer {self.token}"))
        frame = HeadersFrame(self.next, data=self.encoder.encode(head), flags=["END_HEADERS"])
        assert self.connection is not None
        self.connection.sendall(frame.serialize())
        self.open.add(self.next)
        self.next += 2

    def _receive(self) -> None:
        assert self.connection is not None
        try:
            while chunk := self.connection.recv(65536):
                self.received += chunk
            raise ConnectionResetError("The system closed the connection.")
        except TimeoutError:
            pass
        while len(self.received) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(self.received[:9]))
            if len(self.received) < 9 + length:
                return
            frame.parse_body(memoryview(self.received[9 : 9 + length]))
            self.received = self.received[9 + length :]
            self._react(frame)

    def _react(self, frame: Frame) -> None:
        assert self.connection is not None
        if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self.connection.sendall(SettingsFrame(0, flags=["ACK"]).serialize())
        elif isinstance(frame, PingFrame) and "ACK" not in frame.flags:
            self.connection.sendall(PingFrame(0, frame.opaque_data, flags=["ACK"]).serialize())
        elif isinstance(frame, RstStreamFrame) or "END_STREAM" in frame.flags:
            self.open.discard(frame.stream_id)

    def _close(self) -> None:
        if self.connection is not None:
            self.connection.close()
        self.connection = None
