"""TLS of the gRPC server (TLS_CERTIFICATE, TLS_KEY) and of its clients (TLS_CA, TLS_NAME)."""

from pathlib import Path
from typing import Any

import grpc
from django.conf import settings

Pair = tuple[bytes, bytes]


def server_credentials() -> grpc.ServerCredentials:
    """Credentials that follow renewals: new connections use the certificate that is on disk.

    An unreadable or half-renewed pair leaves the previous one in use. The first read raises OSError.
    """
    used = _pair()

    def renewed() -> Any:  # None keeps the current pair
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
    """A channel to a server whose certificate is for TLS_NAME."""
    if not settings.TLS_CA:
        return grpc.insecure_channel(address, options)
    trusted = grpc.ssl_channel_credentials(Path(settings.TLS_CA).read_bytes())
    return grpc.secure_channel(
        address, trusted, [*options, ("grpc.ssl_target_name_override", settings.TLS_NAME)]
    )


def _pair() -> Pair:
    return Path(settings.TLS_KEY).read_bytes(), Path(settings.TLS_CERTIFICATE).read_bytes()
