"""A PostGIS cluster of the system's own, or of one test run's: on loopback, for one role, touching no other.

It has no Unix socket, so no path is ever too long for one. PostgreSQL refuses to run as root: for root it
runs as the package's user, in a folder outside the checkout, because a checkout under /root is closed to it.
"""

import contextlib
import ctypes
import json
import os
import pwd
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.instance import Instance, Refused, read_json, say, write
from local.polling import poll
from local.prepare import has_postgis, postgresql_versions
from local.supervision import Program, tail

UNPRIVILEGED = "postgres"
# Below the range from which the kernel takes the ports of outgoing connections, away from well-known ones.
PORTS = range(20000, 29000)
START_TIMEOUT_S = 60
CARELESS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}
PR_SET_PDEATHSIG = 1

SCHEMA = """
SET client_min_messages = warning;
\\connect template1
CREATE EXTENSION IF NOT EXISTS postgis;
CREATE EXTENSION IF NOT EXISTS btree_gist;
CREATE EXTENSION IF NOT EXISTS pg_trgm;
\\connect postgres
SELECT 'CREATE ROLE connect LOGIN {attributes} PASSWORD ''{password}'''
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'connect') \\gexec
SELECT 'CREATE DATABASE connect OWNER connect'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'connect') \\gexec
"""


@dataclass(frozen=True)
class Cluster:
    """`home` holds `data/`, and `cluster.json` with the port and the passwords."""

    home: Path
    port: int
    password: str
    admin_password: str

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def binaries(self) -> Path:
        """Those that made the data; for data still to be made the newest that there are with PostGIS."""
        made_by = self.data / "PG_VERSION"
        if made_by.exists():
            version = int(made_by.read_text())
            if not has_postgis(version):
                raise Refused(
                    f"{self.data} was made by PostgreSQL {version}; install postgresql-{version}-postgis-3."
                )
        else:
            version = next(filter(has_postgis, postgresql_versions()))
        return Path(f"/usr/lib/postgresql/{version}/bin")

    @property
    def url(self) -> str:
        return f"postgis://connect:{self.password}@127.0.0.1:{self.port}/connect"

    def command(self) -> list[str]:
        return [str(self.binaries / "postgres"), "-D", str(self.data), "-p", str(self.port)]

    def program(self) -> Program:
        """SIGINT, because on SIGTERM PostgreSQL waits for its clients to leave."""
        return Program(
            name="postgis",
            command=self.command(),
            directory=self.home,
            priority=100,
            stop_signal="INT",
            user=unprivileged_user(),
        )

    def is_ready(self) -> bool:
        probe: list[str | Path] = [
            self.binaries / "pg_isready",
            "--quiet",
            "--host=127.0.0.1",
            f"--port={self.port}",
        ]
        return subprocess.run(probe, check=False).returncode == 0

    def create_database(self, *, attributes: str = "") -> None:
        """The role, the database and its extensions, as far as they are not there yet."""
        psql: list[str | Path] = [self.binaries / "psql", "-qAtX", "--host=127.0.0.1", f"--port={self.port}"]
        result = subprocess.run(
            [*psql, "--username=postgres", "--set=ON_ERROR_STOP=1", "postgres"],
            input=SCHEMA.format(attributes=attributes, password=self.password),
            env={**os.environ, "PGPASSWORD": self.admin_password, "PGCONNECT_TIMEOUT": "10"},
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise Refused(f"The database could not be created:\n{result.stderr}")


def unprivileged_user() -> str | None:
    return UNPRIVILEGED if os.getuid() == 0 else None


def home_of(instance: Instance) -> Path:
    return Path(f"/var/lib/connect-{instance.key}") if os.getuid() == 0 else instance.state / "postgis"


def private_cluster(instance: Instance, *, running: bool) -> Cluster:
    """The system's cluster, made if need be. Its port stays, unless somebody else took it in the meantime."""
    home = home_of(instance)
    own_directory(home)
    known = read_json(home / "cluster.json")
    if not known and (home / "data").exists():
        raise Refused(
            f"{home} holds a cluster whose passwords are lost; move it away to start with a new one."
        )
    known.setdefault("password", secrets.token_urlsafe(24))
    known.setdefault("admin_password", secrets.token_urlsafe(24))
    if "port" not in known or not (running or is_free(known["port"])):
        known["port"] = free_port()
    if known != read_json(home / "cluster.json"):
        write(home / "cluster.json", json.dumps(known, indent=1) + "\n")
    cluster = Cluster(home, known["port"], known["password"], known["admin_password"])
    if not cluster.data.exists():
        say(f"Making a PostGIS cluster in {home}.")
    make_data(cluster, settings())
    if not running:
        forget_stale_pid(cluster)
    return cluster


def forget_stale_pid(cluster: Cluster) -> None:
    """After a crash of the machine the number may be another process's; PostgreSQL would refuse to start."""
    file = cluster.data / "postmaster.pid"
    with contextlib.suppress(FileNotFoundError):
        pid = file.read_text().split("\n")[0]
        command_line = Path(f"/proc/{pid}/cmdline")
        if not command_line.exists() or str(cluster.data).encode() not in command_line.read_bytes():
            file.unlink()


def make_data(cluster: Cluster, lines: Mapping[str, str], *options: str) -> None:
    """Runs initdb aside and renames, so that an interrupted one is begun again, and writes the settings."""
    if not cluster.data.exists():
        unfinished = cluster.home / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        password_file = cluster.home / "password"
        write(password_file, cluster.admin_password + "\n")
        give_away(password_file)
        initdb = [str(cluster.binaries / "initdb"), f"--pgdata={unfinished}", "--username=postgres"]
        initdb += [f"--pwfile={password_file}", "--auth=scram-sha-256", "--encoding=UTF8"]
        initdb += ["--locale=C.UTF-8", "--data-checksums", *options]
        result = subprocess.run(
            initdb, cwd=cluster.home, capture_output=True, text=True, check=False, **as_unprivileged()
        )
        password_file.unlink()
        if result.returncode != 0:
            raise Refused(f"initdb failed:\n{result.stdout}{result.stderr}")
        unfinished.rename(cluster.data)
    file = cluster.data / "postgresql.conf"
    text = "".join(f"{key} = '{value}'\n" for key, value in lines.items())
    if file.read_text() != text:
        write(file, text)
        give_away(file)


def settings(**changes: str) -> dict[str, str]:
    """PostgreSQL's own settings for a laptop: a good part of its memory, and a disk without moving parts."""
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    return {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "max_connections": "200",
        "shared_buffers": f"{max(64, min(1024, memory_mb // 8))}MB",
        "effective_cache_size": f"{max(128, memory_mb // 2)}MB",
        "work_mem": "32MB",
        "maintenance_work_mem": "256MB",
        "jit": "off",
        "random_page_cost": "1.1",
        "wal_compression": "lz4",
        "max_wal_size": "4GB",
        "checkpoint_timeout": "15min",
        # A statement over a partitioned table may lock every partition and index.
        "max_locks_per_transaction": "256",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] ",
        **changes,
    }


@contextlib.contextmanager
def throwaway_cluster(*, durable: bool = False) -> Iterator[Cluster]:
    """A cluster for one run of tests or of the bench, gone afterwards.

    It is quick, because it need not survive anything; `durable` writes as carefully as one that is to stay.
    """
    home = Path(tempfile.mkdtemp(prefix="connect-test-"))
    process = None
    try:
        own_directory(home)
        cluster = Cluster(home, free_port(), secrets.token_urlsafe(12), secrets.token_urlsafe(12))
        careless = {} if durable else CARELESS
        make_data(cluster, settings(**careless), "--no-sync")
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(
                cluster.command(),
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that Ctrl-C does not reach it before the tests have ended
                preexec_fn=end_with_parent,  # noqa: PLW1509 - there are no threads here
                **as_unprivileged(),
            )
        poll(lambda: cluster.is_ready() or process.poll() is not None, START_TIMEOUT_S)
        if not cluster.is_ready():
            raise Refused(f"PostgreSQL did not start:\n{tail(home / 'log')}")
        cluster.create_database(attributes="CREATEDB")
        yield cluster
    finally:
        if process is not None:
            process.send_signal(signal.SIGQUIT)
            process.wait(30)
        shutil.rmtree(home)


def end_with_parent() -> None:
    """PostgreSQL goes at once when the test run is killed without a chance to clean up."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


def as_unprivileged() -> dict[str, Any]:
    """What subprocess needs to leave root behind; nothing for anyone else."""
    if unprivileged_user() is None:
        return {}
    entry = pwd.getpwnam(UNPRIVILEGED)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def own_directory(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    give_away(path)


def give_away(path: Path) -> None:
    if unprivileged_user() is not None:
        shutil.chown(path, UNPRIVILEGED, pwd.getpwnam(UNPRIVILEGED).pw_gid)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port(taken: frozenset[int] = frozenset()) -> int:
    """A port of 127.0.0.1 on which nobody listens; `taken` are those promised to somebody already."""
    candidates = (random.choice(PORTS) for _ in range(1000))  # noqa: S311 - no secret
    return next(port for port in candidates if port not in taken and is_free(port))
