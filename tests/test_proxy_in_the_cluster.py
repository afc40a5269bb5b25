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

from local.place import CHECKOUT
from local.polling import poll
from local.proxy import executable
from tests.authority import Authority
from tests.rendered import STAGES, as_read

CONFIGURATION = CHECKOUT / "k8s" / "proxy" / "cluster.cfg"
WITH_ROUTES = [stage for stage in STAGES if as_read(stage).routes]


def routes(stage: str) -> list[tuple[str, str]]:
    lines = (as_read(stage).routes or "").splitlines()
    return [tuple(line.split()) for line in lines if not line.startswith("#")]


class Alive(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

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
    stage: str, folder: Path, ports: list[int], upstreams: dict[str, int], **more: str
) -> Iterator[None]:
    text = CONFIGURATION.read_text()
    text = re.sub(
        r"server (\S+) \S+\.svc\.cluster\.local:8000 resolvers .*",
        lambda found: f"server {found[1]} 127.0.0.1:{upstreams[found[1]]}",
        text,
    )
    for bind, port in zip(("bind :8000", "bind :8001"), ports, strict=True):
        text = text.replace(bind, f"bind 127.0.0.1:{port}")
    (folder / "cluster.cfg").write_text(text)
    (folder / "routes.map").write_text(as_read(stage).routes or "")
    files = ["-f", str(CHECKOUT / "k8s" / "proxy" / "defaults.cfg"), "-f", str(folder / "cluster.cfg")]
    environ = os.environ | {
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


@pytest.mark.parametrize("stage", WITH_ROUTES)
def test_before_it_begins_it_looks_for_everybody_whom_the_routes_name(stage: str) -> None:
    looked_for = {
        next(name for pattern, name in routes(stage) if re.search(pattern, path))
        for path in re.findall(r"acl nobody str\(([^)]+)\)", CONFIGURATION.read_text())
    }
    assert looked_for == {name for _, name in routes(stage)}


def test_it_begins_when_they_are_there_and_stays_when_one_of_them_goes(tmp_path: Path) -> None:
    stage = WITH_ROUTES[-1]
    traffic, port, *ports = free_ports(7)
    known = ("web", "persons", "locations", "locations-rest", "connections")
    upstreams = dict(zip(known, ports, strict=True))

    def says(path: str, status: int) -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{port}{path}", timeout=5).status_code == status
        except requests.ConnectionError:
            return False

    *early, late = sorted({name for _, name in routes(stage)})
    with proxy(stage, tmp_path, [traffic, port], upstreams), ExitStack() as stack:
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
    traffic, probe, port = free_ports(3)
    upstreams = dict.fromkeys(("web", "persons", "locations", "locations-rest", "connections"), port)

    def answers() -> bool:
        try:
            url = f"https://127.0.0.1:{traffic}/api/persons"
            return requests.get(url, verify=str(authority.file), timeout=5).status_code == 200
        except requests.exceptions.SSLError:
            raise
        except requests.ConnectionError:
            return False

    options = f"ssl crt {tmp_path}/tls.crt"
    with proxy(WITH_ROUTES[-1], tmp_path, [traffic, probe], upstreams, TLS=options), answering(port):
        assert poll(answers, 20)
        with pytest.raises(requests.ConnectionError):
            requests.get(f"http://127.0.0.1:{traffic}/api/persons", timeout=5)
