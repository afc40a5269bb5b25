"""A pod starts only once its neighbours accept connections."""

import os
import socket
import subprocess
import sys

import pytest

from connect import neighbours


def start_waiting(**environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "connect.wait_for_neighbours"],
        env=os.environ | environ,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_it_ends_when_the_neighbour_accepts_connections() -> None:
    with socket.socket() as persons:
        persons.bind(
            ("127.0.0.1", 0)
        )  # bound but not listening: refuses connections like a Service without pods
        host = f"127.0.0.1:{persons.getsockname()[1]}"
        with start_waiting(PERSONS_URL=f"http://{host}") as process:
            assert process.stdout
            assert process.stdout.readline() == f"Waiting for {host}.\n"
            persons.listen()
            assert process.wait(20) == 0


def test_it_waits_for_every_neighbour() -> None:
    with socket.create_server(("127.0.0.1", 0)) as persons, socket.socket() as locations:
        locations.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{locations.getsockname()[1]}"
        there = f"http://127.0.0.1:{persons.getsockname()[1]}"
        with start_waiting(PERSONS_URL=there, PINGS_URL=f"grpc://{host}") as process:
            assert process.stdout
            assert process.stdout.readline() == f"Waiting for {host}.\n"
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(1)
            process.terminate()


def test_without_remote_neighbours_it_does_not_wait() -> None:
    with start_waiting() as process:
        assert process.wait(20) == 0


def test_an_http_url_defaults_to_port_80() -> None:
    """Not port 0, which never accepts connections."""
    with start_waiting(PERSONS_URL="http://127.0.0.254") as process:
        assert process.stdout
        assert process.stdout.readline() == "Waiting for 127.0.0.254:80.\n"
        process.terminate()
    assert neighbours.address("PERSONS_URL", "http://persons") == ("persons", 80)
    assert neighbours.address("PERSONS_URL", "http://[::1]:8000") == ("::1", 8000)


@pytest.mark.parametrize(
    "url",
    ["grpc://locations", "grpc://locations:0", "grpc://locations:x", "grpc://locations:70000", "http://:80"],
)
def test_an_invalid_url_is_refused_at_once(url: str) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "connect.wait_for_neighbours"],
        env=os.environ | {"LOCATIONS_URL": url},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert process.returncode == 1
    assert process.stderr.startswith(f"LOCATIONS_URL={url!r}: ")
    assert "Traceback" not in process.stderr
