"""TLS of the gRPC server and of those who ask it, by TLS_CERTIFICATE with TLS_KEY and by TLS_CA."""

from pathlib import Path
from typing import Any

import grpc
from django.conf import settings

Pair = tuple[bytes, bytes]


def of_server() -> grpc.ServerCredentials:
    """A certificate that is renewed on disk is the next connection's, and none lasts longer than seconds.

    One that cannot be read, or that is half renewed, leaves the one before in use. Raises OSError at first.
    """
    used = _pair()

    def renewed() -> Any:  # None is: the same as before
        nonlocal used
        try:
            found = _pair()
        except OSError:
            return None
        if found == used:
            return None
        used = found
        return grpc.ssl_server_certificate_configuration([found])

    first = grpc.ssl_server_certificate_configuration([used])
    return grpc.dynamic_ssl_server_credentials(first, renewed)


def channel(address: str, options: list[tuple[str, str | int]]) -> grpc.Channel:
    """To the server at this address, whose certificate is for TLS_NAME."""
    if not settings.TLS_CA:
        return grpc.insecure_channel(address, options)
    trusted = grpc.ssl_channel_credentials(Path(settings.TLS_CA).read_bytes())
    return grpc.secure_channel(
        address, trusted, [*options, ("grpc.ssl_target_name_override", settings.TLS_NAME)]
    )


def _pair() -> Pair:
    return Path(settings.TLS_KEY).read_bytes(), Path(settings.TLS_CERTIFICATE).read_bytes()
