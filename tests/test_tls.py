"""A whole system with a certificate: every door of clients speaks TLS and nothing else, at any stage."""

import socket
import ssl
from collections.abc import Iterator

import grpc
import pytest
import requests

from access.certificates import Authority
from grpc_server import locations_pb2 as pb
from grpc_server.locations_pb2_grpc import LocationServiceStub
from tests.system import API, APP, LOCATIONS, PERSONS, STAGES, System, a_system

DAY = {"start_date": "2026-05-11", "end_date": "2026-05-11"}
PING = {"person_id": 1, "latitude": 1, "longitude": 2, "creation_time": "2026-05-11T10:00:00Z"}


class Encrypted:
    """Asks a system as a client does that trusts one authority."""

    def __init__(self, system: System, authority: Authority) -> None:
        self.system, self.authority = system, authority

    def ask(self, verb: str, path: str, port: int = API, **how: object) -> requests.Response:
        url = f"https://127.0.0.1:{self.system.port(port)}{path}"
        shown = {"Authorization": f"Bearer {self.system.token}"}
        verified = str(self.authority.file)
        return requests.request(verb, url, verify=verified, headers=shown, timeout=30, **how)  # type: ignore[arg-type]

    def stored(self) -> list[str]:
        trusted = grpc.ssl_channel_credentials(self.authority.file.read_bytes())
        with grpc.secure_channel(f"127.0.0.1:{self.system.port(LOCATIONS)}", trusted) as channel:
            asked, shown = (
                pb.ListLocationsRequest(limit=5),
                [("authorization", f"Bearer {self.system.token}")],
            )
            answers = LocationServiceStub(channel).ListLocations(asked, timeout=20, metadata=shown)
            return [one.id for answer in answers for one in answer.locations]


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encrypted]:
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority(folder, ["renewed"])
    authority.certify("locations", "127.0.0.1")
    with a_system(folder, access="tokens") as system:
        system.environ |= authority.settings()
        system.go(STAGES[-1])
        yield Encrypted(system, authority)


@pytest.mark.parametrize(
    ("port", "path"),
    [(APP, "/"), (API, "/api/persons?limit=1"), (PERSONS, "/api/persons?limit=1"), (API, "/admin/login/")],
)
def test_the_doors_of_the_web_answer_by_https_and_say_that_it_stays_so(
    encrypted: Encrypted, port: int, path: str
) -> None:
    answer = encrypted.ask("GET", path, port)
    assert answer.status_code == 200
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


@pytest.mark.parametrize("port", [APP, API, PERSONS])
def test_they_answer_nobody_who_speaks_plainly(encrypted: Encrypted, port: int) -> None:
    with pytest.raises(requests.ConnectionError):
        encrypted.system.get("/health/live", port=port)


def test_what_is_handed_in_through_one_door_is_seen_through_the_other(encrypted: Encrypted) -> None:
    taken = encrypted.ask("POST", "/api/locations", json=PING)
    assert taken.status_code == 202
    encrypted.system.settle()
    assert encrypted.stored() == [taken.json()["id"]]
    assert encrypted.ask("GET", "/api/persons/1/connection", params=DAY).json() == []


@pytest.mark.parametrize("port", [APP, API, PERSONS, LOCATIONS])
def test_they_listen_on_every_address_of_the_machine(encrypted: Encrypted, port: int) -> None:
    socket.create_connection(("127.0.0.2", encrypted.system.port(port)), timeout=20).close()


def test_grpc_answers_nobody_who_speaks_plainly(encrypted: Encrypted) -> None:
    with encrypted.system.grpc() as locations, pytest.raises(grpc.RpcError) as raised:
        next(locations.ListLocations(pb.ListLocationsRequest(limit=1), timeout=10))
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


def test_nothing_before_tls_1_2(encrypted: Encrypted) -> None:
    context = ssl.create_default_context(cafile=str(encrypted.authority.file))
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    address = "127.0.0.1", encrypted.system.port(API)
    with socket.create_connection(address, timeout=10) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_a_walk_back_keeps_to_tls_and_takes_over_a_renewed_certificate(encrypted: Encrypted) -> None:
    encrypted.authority.certify("locations", "127.0.0.1", "renewed")
    encrypted.system.go("4-connections")
    taken = encrypted.ask("POST", "/api/locations", LOCATIONS, json=PING)
    assert taken.status_code == 202
    assert encrypted.ask("GET", f"/api/locations/{taken.json()['id']}").status_code == 200
    certificate = ssl.get_server_certificate(("127.0.0.1", encrypted.system.port(API)))
    assert certificate.strip() == encrypted.authority.certificate.read_text().strip()
