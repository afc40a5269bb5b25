"""Health probe: asks a gRPC server on this machine whether it serves (standard gRPC health protocol).

`python -m grpc_server.probe PORT [--certificate FILE]` exits with 0 if it serves.
Kubernetes' own probes cannot use TLS.
"""

import argparse
import sys
from pathlib import Path

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

LOCATION_SERVICE = "connect.locations.v1.LocationService"


def is_serving(
    port: int, *, service: str = "", certificate: str = "", name: str = "locations", timeout_s: float = 5
) -> bool:
    """Whether the whole server, or one service of it, is SERVING.

    `certificate` is the PEM file of a server that uses TLS. It is the only one that the probe trusts, under
    this `name`.
    """
    address, options = f"127.0.0.1:{port}", [("grpc.enable_http_proxy", 0)]
    if certificate:
        trusted = grpc.ssl_channel_credentials(Path(certificate).read_bytes())
        channel = grpc.secure_channel(address, trusted, [*options, ("grpc.ssl_target_name_override", name)])
    else:
        channel = grpc.insecure_channel(address, options)
    with channel:
        try:
            check = HealthStub(channel).Check  # type: ignore[attr-defined] # its stubs have no methods
            answer = check(HealthCheckRequest(service=service), timeout=timeout_s)
        except grpc.RpcError:
            return False
    return bool(answer.status == HealthCheckResponse.SERVING)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m grpc_server.probe")
    parser.add_argument("port", type=int)
    parser.add_argument("--certificate", default="", help="of a server that uses TLS: a PEM file")
    parser.add_argument("--name", default="locations", help="a name in the certificate")
    options = parser.parse_args()
    sys.exit(not is_serving(options.port, certificate=options.certificate, name=options.name))
