"""The proxy's configuration for a cluster, on a real HAProxy that finds its upstreams on this machine."""

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import requests

from access.certificates import Authority
from local.instance import CHECKOUT
from local.polling import poll
from local.proxy import executable
from tests.renderings import STAGES, as_read

CONFIGURATION = CHECKOUT / "k8s" / "proxy" / "cluster.cfg"
UPSTREAMS = (
    "web",
    "webapp",
    "persons",
    "locations",
    "locations-rest",
    "connections",
    "encounters",
    "live",
    "locations-grpc",
)


def routes(stage: str) -> list[tuple[str, str]]:
    lines = (as_read(stage).routes or "").splitlines()
    return [tuple(line.split()) for line in lines if not line.startswith("#")]


class Alive(BaseHTTPRequestHandler):
    wbufsize = -1  # an answer is one piece: who checks whether it lives leaves after the first

    def do_GET(self) -> None:
        said = f"{self.headers['X-Forwarded-For']} {self.headers['X-Connect-Proxy']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def answering(port: int) -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", port), Alive) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def proxy(
    stage: str, folder: Path, binds: dict[int, int], upstreams: dict[str, int], **more: str
) -> Iterator[None]:
    """With the ports that `binds` gives for those of the configuration; the others are any free ones."""
    text = CONFIGURATION.read_text()
    text, found = re.subn(
        r"server (\S+) \S+\.svc\.cluster\.local:\d+ resolvers .*",
        lambda found: f"server {found[1]} 127.0.0.1:{upstreams[found[1]]}",
        text,
    )
    assert found == len(UPSTREAMS)
    ports = [int(port) for port in re.findall(r"bind :(\d+)", text)]
    taken = dict(zip(ports, free_ports(len(ports)), strict=True)) | binds
    text = re.sub(r"bind :(\d+)", lambda found: f"bind 127.0.0.1:{taken[int(found[1])]}", text)
    (folder / "cluster.cfg").write_text(text)
    (folder / "routes.map").write_text(as_read(stage).routes or "")
    files = ["-f", str(CHECKOUT / "k8s" / "proxy" / "defaults.cfg"), "-f", str(folder / "cluster.cfg")]
    environ = os.environ | {
        "PROXY_FILES": str(CONFIGURATION.parent),
        "ROUTES": str(folder / "routes.map"),
        "APP_URL": "http://127.0.0.1:30000",
        "PROXY_SECRET": "of-this-test",
        "RATE_PER_TOKEN": "500",
        "RATE_PER_ADDRESS": "100",
        **more,
    }
    with subprocess.Popen([executable(), "-W", "-db", *files], env=environ) as process:
        try:
            yield
        finally:
            process.terminate()


@pytest.mark.parametrize("stage", STAGES)
def test_before_it_begins_it_looks_for_everybody_whom_the_routes_name(stage: str) -> None:
    looked_for = {
        next(name for pattern, name in routes(stage) if re.search(pattern, path))
        for path in re.findall(r"acl backend_down str\(([^)]+)\)", CONFIGURATION.read_text())
    }
    assert looked_for == {name for _, name in routes(stage)}


def test_it_begins_when_they_are_there_and_stays_when_one_of_them_goes(tmp_path: Path) -> None:
    stage = STAGES[-1]
    port, *ports = free_ports(1 + len(UPSTREAMS))
    upstreams = dict(zip(UPSTREAMS, ports, strict=True))

    def says(path: str, status: int) -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{port}{path}", timeout=5).status_code == status
        except requests.ConnectionError:
            return False

    *early, late = sorted({name for _, name in routes(stage)})
    with proxy(stage, tmp_path, {8001: port}, upstreams), ExitStack() as stack:
        for name in early:
            stack.enter_context(answering(upstreams[name]))
        # Before the first checks an old HAProxy, which knows no init-state, takes everybody for there.
        assert poll(lambda: says("/health/started", 503), 20)
        assert not poll(lambda: says("/health/started", 200), 3), f"{late} is not there"
        with answering(upstreams[late]):
            assert poll(lambda: says("/health/started", 200), 20)
        assert poll(lambda: says("/health/started", 503), 20)
        assert says("/health/live", 200)


def test_with_a_certificate_it_speaks_tls_and_finds_the_key_beside_it(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.certify("127.0.0.1")
    (tmp_path / "tls.crt").write_bytes(authority.certificate.read_bytes())
    (tmp_path / "tls.key").write_bytes(authority.key.read_bytes())
    doors, upstream = dict(zip((8000, 8010, 8020, 8030), free_ports(4), strict=True)), free_ports(1)[0]
    upstreams = dict.fromkeys(UPSTREAMS, upstream)

    def answers(door: int) -> bool:
        try:
            url = f"https://127.0.0.1:{door}/health/live"
            return requests.get(url, verify=str(authority.file), timeout=5).status_code == 200
        except requests.exceptions.SSLError:
            raise
        except requests.ConnectionError:
            return False

    options = f"ssl crt {tmp_path}/tls.crt"
    with proxy(STAGES[-1], tmp_path, doors, upstreams, TLS=options), answering(upstream):
        for door in doors.values():
            assert poll(lambda door=door: answers(door), 20)
            with pytest.raises(requests.ConnectionError):
                requests.get(f"http://127.0.0.1:{door}/health/live", timeout=5)


# Each door of clients at the last stage, by the port that it has in the proxy's container.
DOORS = {30000: 8010, 30001: 8000, 30002: 8020}


@pytest.mark.parametrize("door", DOORS)
def test_at_no_door_internal_paths_are_served_and_callers_are_believed(tmp_path: Path, door: int) -> None:
    at, upstream = free_ports(2)
    url, forged = f"http://127.0.0.1:{at}", {"X-Forwarded-For": "9.9.9.9", "X-Connect-Proxy": "forged"}
    upstreams = dict.fromkeys(UPSTREAMS, upstream)

    def told() -> str | None:
        try:
            answer = requests.get(f"{url}/health/live", headers=forged, timeout=5)
        except requests.ConnectionError:
            return None
        return answer.text if answer.status_code == 200 else None

    with proxy(STAGES[-1], tmp_path, {DOORS[door]: at}, upstreams), answering(upstream):
        assert poll(lambda: told() is not None, 20)
        assert told() == "127.0.0.1 of-this-test"
        for path in ("/internal/persons?id=1", "/%69nternal/persons?id=1", "//internal/persons"):
            assert requests.get(url + path, timeout=5).status_code == 404


def test_a_connection_that_says_nothing_is_closed_at_the_door_of_grpc(tmp_path: Path) -> None:
    at, upstream = free_ports(2)
    upstreams = dict.fromkeys(UPSTREAMS, upstream)

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", at)) == 0

    with proxy(STAGES[-1], tmp_path, {50051: at}, upstreams), answering(upstream):
        assert poll(listens, 20)
        with socket.create_connection(("127.0.0.1", at), timeout=20) as silent:
            assert silent.recv(1) == b""
