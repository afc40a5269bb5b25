"""A PostGIS cluster of one system or one test run: on loopback, for one role, without a Unix socket.

PostgreSQL refuses to run as root. For root it runs as the package's user, in a folder outside the checkout,
because that user cannot enter a checkout below /root.
"""

import contextlib
import json
import os
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

import psutil

from local.instance import Instance, Refused, output_of, read_json, replaced, say, write
from local.prepare import has_postgis, postgresql_versions
from local.supervision import Program
from local.throwaway import running

UNPRIVILEGED = "postgres"
# Below the range of the kernel's ephemeral ports, away from well-known ones.
PORTS = range(20000, 29000)
GIVEN: set[int] = set()  # ports on which a program will listen
CARELESS = dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes"), "off")
CARELESS |= {"wal_level": "minimal", "max_wal_senders": "0"}

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
    """`home` contains `data/`, and `cluster.json` with the other fields."""

    home: Path
    port: int
    password: str
    admin_password: str

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def binaries(self) -> Path:
        """The folder of programs of the version that made the data; for new data, the newest with PostGIS."""
        made_by = self.data / "PG_VERSION"
        version = (
            int(made_by.read_text()) if made_by.exists() else next(filter(has_postgis, postgresql_versions()))
        )
        if not has_postgis(version):
            raise Refused(f"{self.data} needs PostgreSQL {version}; install postgresql-{version}-postgis-3.")
        return Path(f"/usr/lib/postgresql/{version}/bin")

    @property
    def url(self) -> str:
        return f"postgis://connect:{self.password}@127.0.0.1:{self.port}/connect"

    def command(self) -> list[str]:
        return [str(self.binaries / "postgres"), "-D", str(self.data), "-p", str(self.port)]

    def program(self) -> Program:
        """SIGINT, because on SIGTERM PostgreSQL waits for its clients to disconnect."""
        user = UNPRIVILEGED if os.getuid() == 0 else None
        return Program("postgis", self.command(), self.home, priority=100, stop_signal="INT", user=user)

    def is_ready(self) -> bool:
        probe = [str(self.binaries / "pg_isready"), "--quiet", "--host=127.0.0.1", f"--port={self.port}"]
        return subprocess.run(probe, check=False).returncode == 0

    def create_database(self, *, attributes: str = "") -> None:
        """Creates the role, the database and its extensions where they are missing."""
        psql = [str(self.binaries / "psql"), "-qAtX", "--host=127.0.0.1", f"--port={self.port}"]
        output_of(
            [*psql, "--username=postgres", "--set=ON_ERROR_STOP=1", "postgres"],
            "The database could not be created:",
            input=SCHEMA.format(attributes=attributes, password=self.password),
            env={**os.environ, "PGPASSWORD": self.admin_password, "PGCONNECT_TIMEOUT": "10"},
        )


def home_of(instance: Instance) -> Path:
    return Path(f"/var/lib/connect-{instance.key}") if os.getuid() == 0 else instance.state / "postgis"


def private_cluster(instance: Instance, *, running: bool) -> Cluster:
    """The system's cluster, made at the first call. Its port changes only if another program has taken it."""
    home = home_of(instance)
    own_directory(home)
    known = read_json(home / "cluster.json")
    known.setdefault("password", secrets.token_urlsafe(24))
    known.setdefault("admin_password", secrets.token_urlsafe(24))
    if "port" not in known or not (running or is_free(known["port"])):
        known["port"] = free_port()
    write(home / "cluster.json", json.dumps(known, indent=1) + "\n")
    cluster = Cluster(home, **known)
    if not cluster.data.exists():
        say(f"Making a PostGIS cluster in {home}.")
    make_data(cluster, settings())
    if not running:  # After a crash another process may have its pid, and PostgreSQL would not start.
        (cluster.data / "postmaster.pid").unlink(missing_ok=True)
    return cluster


def make_data(cluster: Cluster, lines: Mapping[str, str], *options: str) -> None:
    """Runs initdb if there is no data, and writes the settings."""
    if not cluster.data.exists():
        with replaced(cluster.data) as unfinished, tempfile.NamedTemporaryFile(dir=cluster.home) as password:
            password.write(cluster.admin_password.encode())
            password.flush()
            give_away(Path(password.name))
            initdb = [str(cluster.binaries / "initdb"), f"--pgdata={unfinished}", "--username=postgres"]
            initdb += [f"--pwfile={password.name}", "--auth=scram-sha-256", "--encoding=UTF8"]
            initdb += ["--locale=C.UTF-8", "--data-checksums", *options]
            output_of([*unprivileged(), *initdb], "initdb failed:", cwd=cluster.home)
    file = cluster.data / "postgresql.conf"
    write(file, "".join(f"{key} = '{value}'\n" for key, value in lines.items()))
    give_away(file)


def settings() -> dict[str, str]:
    """Settings for a laptop: a large part of its memory, and a solid-state disk."""
    memory_mb = psutil.virtual_memory().total // 2**20
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
    }


@contextlib.contextmanager
def throwaway_cluster(*, durable: bool = False) -> Iterator[Cluster]:
    """A cluster for one run of tests or of the bench, deleted at the end. It is fast, unless `durable`."""
    with tempfile.TemporaryDirectory(prefix="connect-test-") as folder:
        home = Path(folder)
        own_directory(home)
        cluster = Cluster(home, free_port(), secrets.token_urlsafe(12), secrets.token_urlsafe(12))
        make_data(cluster, settings() | ({} if durable else CARELESS), "--no-sync")
        with running(cluster.command(), home, cluster.is_ready, signal.SIGQUIT, prefix=unprivileged()):
            cluster.create_database(attributes="CREATEDB")
            yield cluster


def unprivileged() -> list[str]:
    """The prefix of a command that root must run as another user."""
    as_user = ["setpriv", f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}", "--init-groups"]
    return as_user if os.getuid() == 0 else []


def own_directory(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    give_away(path)


def give_away(path: Path) -> None:
    if os.getuid() == 0:
        shutil.chown(path, UNPRIVILEGED, UNPRIVILEGED)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A port of 127.0.0.1 on which no program listens: another one each time."""
    candidates = (random.choice(PORTS) for _ in range(1000))  # noqa: S311 - no secret
    port = next(port for port in candidates if port not in GIVEN and is_free(port))
    GIVEN.add(port)
    return port
