"""The private PostGIS cluster and the throw-away one, on real PostgreSQL."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from local import postgis
from local.instance import Instance, read_json


def query(cluster: postgis.Cluster, sql: str) -> str:
    command = [cluster.binaries / "psql", cluster.url.replace("postgis:", "postgresql:"), "-qAtX", "-c", sql]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_throwaway_cluster_has_postgis_and_leaves_nothing() -> None:
    with postgis.throwaway_cluster() as cluster:
        assert query(cluster, "SELECT ST_Distance('POINT(0 0)'::geography, 'POINT(0 0)'::geography)") == "0"
        assert query(cluster, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == "f"
        query(cluster, "CREATE DATABASE another")  # made from a template that has the extensions
        pid = int((cluster.data / "postmaster.pid").read_text().split("\n")[0])
        if os.getuid() == 0:
            assert Path(f"/proc/{pid}").stat().st_uid != 0
    assert not cluster.home.exists()
    assert not Path(f"/proc/{pid}").exists()


def test_a_throwaway_cluster_goes_also_when_the_tests_fail() -> None:
    with pytest.raises(ZeroDivisionError), postgis.throwaway_cluster() as cluster:
        raise ZeroDivisionError
    assert not cluster.home.exists()
    assert postgis.is_free(cluster.port)


def test_the_private_cluster_is_made_once(instance: Instance) -> None:
    first = postgis.private_cluster(instance, running=False)
    made = (first.data / "PG_VERSION").stat().st_mtime_ns
    again = postgis.private_cluster(instance, running=False)
    assert again == first
    assert (again.data / "PG_VERSION").stat().st_mtime_ns == made
    assert first.port in postgis.PORTS
    assert first.home.stat().st_mode & 0o077 == 0
    assert (first.home / "cluster.json").stat().st_mode & 0o077 == 0


def test_an_interrupted_making_is_begun_again(instance: Instance) -> None:
    home = postgis.home_of(instance)
    (home / "data.unfinished").mkdir(parents=True)
    (home / "data.unfinished" / "PG_VERSION").write_text("half")
    cluster = postgis.private_cluster(instance, running=False)
    assert (cluster.data / "PG_VERSION").read_text().strip().isdigit()
    assert not (home / "data.unfinished").exists()


def test_a_stale_pid_file_is_forgotten(instance: Instance) -> None:
    cluster = postgis.private_cluster(instance, running=False)
    (cluster.data / "postmaster.pid").write_text(f"{os.getpid()}\n{cluster.data}\n")
    postgis.private_cluster(instance, running=False)
    assert not (cluster.data / "postmaster.pid").exists()


def test_a_port_that_somebody_took_is_given_up(instance: Instance) -> None:
    first = postgis.private_cluster(instance, running=False)
    with socket.socket() as other:
        other.bind(("127.0.0.1", first.port))
        other.listen()
        second = postgis.private_cluster(instance, running=False)
    assert second.port != first.port
    assert read_json(second.home / "cluster.json")["port"] == second.port
    assert second.password == first.password
