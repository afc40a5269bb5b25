"""Health probe: asks a gRPC server on this machine whether it serves (standard gRPC health protocol).

`python -m grpc_server.probe PORT [--tls]` exits with 0 if it serves. Kubernetes' own probes cannot use TLS.

It uses only the standard library, with the minimum of HTTP/2 for this one call: `make status` may have no
virtual environment, and a probe that runs every few seconds must start fast.
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
# A gRPC message: not compressed, length, payload. Field 1 is `service` in the request and `status` in the
# response; 1 means SERVING.
SERVING = b"\0\0\0\0\x02\x08\x01"
# HPACK: indexes 3, 6, 4, 1 and 31 of the static table, then literal names and values with their lengths.
REQUEST_HEADERS = (
    b"\x83\x86"  # :method POST, :scheme http
    b"\x04\x1c/grpc.health.v1.Health/Check"
    b"\x01\x09localhost"
    b"\x0f\x10\x10application/grpc"
    b"\x00\x02te\x08trailers"
)


def is_serving(port: int, *, service: str = "", tls: bool = False, timeout_s: float = 5) -> bool:
    """Whether the whole server, or one service of it, is SERVING."""
    name = service.encode()
    body = b"\x0a" + bytes([len(name)]) + name if name else b""
    request = b"\0" + len(body).to_bytes(4) + body
    try:
        with connected(port, tls=tls, timeout_s=timeout_s) as connection:
            connection.sendall(
                PREFACE
                + frame(SETTINGS, 0, 0, b"")
                + frame(HEADERS, END_HEADERS, STREAM, REQUEST_HEADERS)
                + frame(DATA, END_STREAM, STREAM, request)
            )
            return answer(connection) == SERVING
    except OSError:
        return False


def connected(port: int, *, tls: bool, timeout_s: float) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
    if not tls:
        return connection
    context = ssl.create_default_context()
    # The probe exchanges nothing secret, and the certificate is not for 127.0.0.1.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        return context.wrap_socket(connection)
    except BaseException:
        connection.close()
        raise


def answer(connection: socket.socket) -> bytes:
    """The message of the first DATA frame; empty if the server ends the call without one."""
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
    received = b""
    while len(received) < size:
        chunk = connection.recv(size - len(received))
        if not chunk:
            raise ConnectionError("The server closed the connection.")
        received += chunk
    return received


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m grpc_server.probe")
    parser.add_argument("port", type=int)
    parser.add_argument("--tls", action="store_true")
    options = parser.parse_args()
    sys.exit(not is_serving(options.port, tls=options.tls))
