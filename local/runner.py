"""`make up` and `make down`: from whatever there is to a whole system, and back to nothing.

Each step is done only where it is missing, so what an interrupted run left half done the next one completes.
"""

import shutil
import subprocess
from collections.abc import Mapping

from local import manifests, postgis
from local.generations import move, native_environ, node_ports, running_file
from local.manifests import Stage
from local.place import VENV, Place, Refused, given, kept_secret, read_json, write
from local.polling import poll
from local.seed import seed
from local.supervision import Supervisor, end_leftovers, inherited, tail


def up(place: Place, wanted: str | None) -> None:
    place.make()
    with place.lock():
        name = manifests.find_stage(place, wanted)
        supervisor = Supervisor(place)
        if not supervisor.settle():
            end_leftovers(place)
            for file in [*place.programs.glob("*.ini"), running_file(place)]:
                file.unlink(missing_ok=True)
        check_ports(place, manifests.read_stage(place, name, Anything()))
        secrets = open_database(place, supervisor)
        stage = manifests.read_stage(place, name, secrets)
        for job in stage.jobs:
            run(place, job.name, job.command, native_environ(place, stage, job))
        seed(place, secrets, run)
        own = {"haproxy"} if given("DATABASE_URL", place.checkout) else {"haproxy", "postgis"}
        move(place, supervisor, stage, own)


class Anything(dict[str, str]):
    """Stands for secrets where only the shape of a stage is asked for."""

    def __missing__(self, key: str) -> str:
        return ""


def check_ports(place: Place, stage: Stage) -> None:
    """Another program on one of the addresses is better heard of now than after a minute."""
    own = set(read_json(running_file(place)).get("node_ports", ()))
    for port in node_ports(place, stage):
        if port not in own and not postgis.is_free(port):
            raise Refused(
                f"Port {port} is taken by another program. Stop that one, or choose another base: "
                f"make up CONNECT_PORT_BASE=31000 (now {place.port_base})."
            )


def open_database(place: Place, supervisor: Supervisor) -> dict[str, str]:
    """Starts the supervisor, with the private cluster unless there is another database; gives the secrets."""
    running = supervisor.pid() is not None
    url = given("DATABASE_URL", place.checkout)
    cluster = None
    if url is None:
        kept = running and "postgis" in supervisor.programs()
        cluster = postgis.private_cluster(place, running=kept)
        url = cluster.url
    if not running:
        supervisor.start()
    if cluster is not None:
        supervisor.add(cluster.program())
        if not poll(cluster.is_ready, postgis.START_TIMEOUT_S, every_s=0.2):
            raise Refused(f"PostgreSQL does not start. Its last lines:\n{tail(place.logs / 'postgis.log')}")
        cluster.create_database()
    secret_key = given("SECRET_KEY", place.checkout) or kept_secret(place.state / "secret-key")
    secrets = {"DATABASE_URL": url, "SECRET_KEY": secret_key}
    write(place.state / "env", "".join(f"{key}={value}\n" for key, value in secrets.items()))
    return secrets


def run(place: Place, name: str, command: tuple[str, ...], environ: Mapping[str, str]) -> str:
    """Runs to its end what ends by itself; gives what it printed."""
    log = place.logs / f"{name}.log"
    environ = inherited() | dict(environ)
    program = VENV / "bin" / command[0]
    result = subprocess.run(
        [str(program), *command[1:]],
        cwd=place.checkout,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log.open("w"),
        text=True,
        check=False,
    )
    if result.returncode != 0:
        said = "\n".join(result.stdout.splitlines()[-10:])
        raise Refused(f"{' '.join(command)} failed. Its last lines:\n{said}\n{tail(log)}")
    return result.stdout


def down(place: Place) -> bool:
    """Stops everything; False when nothing ran. The data stays."""
    place.make()
    with place.lock():
        supervisor = Supervisor(place)
        ran = supervisor.pid() is not None
        supervisor.stop()
        end_leftovers(place)
        running_file(place).unlink(missing_ok=True)
        shutil.rmtree(place.sockets())
        return ran
