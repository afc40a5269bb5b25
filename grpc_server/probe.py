"""Whether a gRPC server on this machine says that it serves: one call of the standard health protocol.

`python -m grpc_server.probe PORT [--tls]`, for whoever cannot speak TLS; its exit status is 0 if so.

Standard library only, because `make status` may have no virtual environment, and because a probe comes every
few seconds: HTTP/2 written out by hand, as little of it as this one call needs.
"""

import argparse
import socket
import ssl
import struct
import sys

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, GOAWAY = 0, 1, 4, 7
END_HEADERS, END_STREAM = 4, 1
STREAM = 1
LOCATION_SERVICE = "connect.locations.v1.LocationService"
# A gRPC message: not compressed, its length, and in it for the question field 1 (service), for the answer
# field 1 (status) = 1 (SERVING).
SERVING = b"\0\0\0\0\x02\x08\x01"
# HPACK: 3, 6, 4, 1 and 31 are places in its static table; then name or value with their lengths.
REQUEST = (
    b"\x83\x86"  # :method POST, :scheme http
    b"\x04\x1c/grpc.health.v1.Health/Check"
    b"\x01\x09localhost"
    b"\x0f\x10\x10application/grpc"
    b"\x00\x02te\x08trailers"
)


def is_serving(port: int, *, service: str = "", tls: bool = False, timeout_s: float = 5) -> bool:
    """Whether the whole server, or a service of it, says SERVING."""
    name = service.encode()
    body = b"\x0a" + bytes([len(name)]) + name if name else b""
    question = b"\0" + len(body).to_bytes(4) + body
    try:
        with connected(port, tls=tls, timeout_s=timeout_s) as connection:
            connection.sendall(
                PREFACE
                + frame(SETTINGS, 0, 0, b"")
                + frame(HEADERS, END_HEADERS, STREAM, REQUEST)
                + frame(DATA, END_STREAM, STREAM, question)
            )
            return answer(connection) == SERVING
    except OSError:
        return False


def connected(port: int, *, tls: bool, timeout_s: float) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
    if not tls:
        return connection
    context = ssl.create_default_context()
    # Nothing is told or learned that were worth hiding, and the certificate is of another name than this one.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        return context.wrap_socket(connection)
    except BaseException:
        connection.close()
        raise


def answer(connection: socket.socket) -> bytes:
    """The message in the first DATA frame; nothing when the server ends the call without one."""
    while True:
        head = exactly(connection, 9)
        length, kind, flags = int.from_bytes(head[:3]), head[3], head[4]
        payload = exactly(connection, length)
        if kind == DATA:
            return payload
        if kind == GOAWAY or (kind == HEADERS and flags & END_STREAM):
            return b""


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + struct.pack(">BBI", kind, flags, stream) + payload


def exactly(connection: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        chunk = connection.recv(size - len(got))
        if not chunk:
            raise ConnectionError("The server closed the connection.")
        got += chunk
    return got


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m grpc_server.probe")
    parser.add_argument("port", type=int)
    parser.add_argument("--tls", action="store_true")
    options = parser.parse_args()
    sys.exit(not is_serving(options.port, tls=options.tls))
