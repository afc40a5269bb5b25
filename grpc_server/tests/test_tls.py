"""The server with TLS: clients, probe and renewed certificates."""

import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509

from access.certificates import Authority
from connect.errors import NeighbourUnavailable
from grpc_server import client, transport
from grpc_server import locations_pb2 as pb
from grpc_server.locations_pb2_grpc import LocationServiceStub
from grpc_server.tests.conftest import NOON, location
from grpc_server.tests.process import LocationProcess
from locations.pings import Ping
from tests.gunicorn_server import ROOT, until


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    authority = Authority(tmp_path_factory.mktemp("tls"))
    authority.certify("locations")
    return authority


@pytest.fixture(scope="module")
def secure_server(django_db_setup: None, authority: Authority) -> Iterator[LocationProcess]:
    with LocationProcess(GRPC_THREADS="8", **authority.settings()) as running:
        yield running


@pytest.fixture(autouse=True)
def no_cached_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_clients", {})


def port(server: LocationProcess) -> int:
    return int(server.address.rpartition(":")[2])


def serial_number(server: LocationProcess) -> int:
    pem = ssl.get_server_certificate(("127.0.0.1", port(server)))
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


def test_a_client_without_tls_is_refused(secure_server: LocationProcess) -> None:
    with secure_server.channel() as channel, pytest.raises(grpc.RpcError) as raised:
        LocationServiceStub(channel).GetLocation(pb.GetLocationRequest(id="1-1"), timeout=10)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


def test_the_client_works_over_tls(
    people: None, secure_server: LocationProcess, authority: Authority, settings: Any
) -> None:
    settings.TLS_CA = str(authority.file)
    settings.LOCATIONS_URL = settings.PINGS_URL = secure_server.url
    assert client.submit([Ping(1, NOON, 1.0, 2.0)]).stored == 1
    assert client.get(1, NOON) == Ping(1, NOON, 1.0, 2.0)


@pytest.mark.parametrize("wrong", ["name", "authority"])
def test_the_client_refuses_a_server_with_a_wrong_certificate(
    secure_server: LocationProcess, authority: Authority, settings: Any, tmp_path: Path, wrong: str
) -> None:
    settings.TLS_CA = str(authority.file if wrong == "name" else Authority(tmp_path).file)
    settings.TLS_NAME = "in_thread" if wrong == "name" else "locations"
    settings.PINGS_URL = secure_server.url
    settings.GRPC_TIMEOUT_S = 2
    with pytest.raises(NeighbourUnavailable):
        client.submit([Ping(1, NOON, 1.0, 2.0)])


def test_the_probe_trusts_the_certificate_of_the_server_alone(
    transactional_db: None, secure_server: LocationProcess, authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path)
    other.certify("locations")
    probe = [sys.executable, "-m", "grpc_server.probe", str(port(secure_server))]
    for arguments, status in (
        (["--certificate", authority.certificate], 0),
        (["--certificate", other.certificate], 1),
        ([], 1),
    ):
        assert subprocess.run([*probe, *arguments], cwd=ROOT, check=False).returncode == status


def test_new_connections_use_a_renewed_certificate(
    people: None, secure_server: LocationProcess, authority: Authority
) -> None:
    trusted = grpc.ssl_channel_credentials(authority.file.read_bytes())
    options = [("grpc.ssl_target_name_override", "locations")]
    with grpc.secure_channel(secure_server.address, trusted, options) as channel:
        stub = LocationServiceStub(channel)
        stub.RecordLocation(location(1), timeout=10)

        renewed = authority.certify("locations")

        assert until(lambda: serial_number(secure_server) == renewed)
        stub.RecordLocation(location(2), timeout=10)


def test_a_half_renewed_pair_keeps_the_previous_certificate(
    secure_server: LocationProcess, authority: Authority
) -> None:
    before, whole = serial_number(secure_server), authority.certificate.read_bytes()
    authority.certificate.write_bytes(b"")
    try:
        assert [serial_number(secure_server) for _ in range(3)] == [before] * 3
    finally:
        authority.certificate.write_bytes(whole)


def test_an_unreadable_certificate_fails_at_start(tmp_path: Path) -> None:
    nowhere = {"TLS_CERTIFICATE": str(tmp_path / "none.pem"), "TLS_KEY": str(tmp_path / "none.key")}
    process = LocationProcess(**nowhere).start()
    assert process.process.wait(20) == 2
    assert "No such file" in process.output()
