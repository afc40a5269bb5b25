"""`make up` and `make down`: from whatever there is to a whole system, and back to nothing.

Each step is done only where it is missing, so what an interrupted run left half done the next one completes.
"""

import shutil
import subprocess
from collections.abc import Mapping

from local import kafka, manifests, postgis, wishes
from local.generations import move, native_environ, node_ports, owed, running_file, wait_whole
from local.kafka import Broker
from local.manifests import Stage
from local.place import (
    VENV,
    Place,
    Refused,
    given,
    keep,
    kept_secret,
    kept_token,
    private_directory,
    read_json,
)
from local.polling import poll
from local.postgis import Cluster
from local.seed import seed
from local.supervision import MARK, Supervisor, end_leftovers, inherited, tail


def up(place: Place, wanted: str | None) -> None:
    place.make()
    with place.lock():
        name = manifests.find_stage(place, wanted)
        supervisor = Supervisor(place)
        running = supervisor.settle()
        if not running:
            end_leftovers(place)
            for file in [*place.programs.glob("*.ini"), running_file(place)]:
                file.unlink(missing_ok=True)
        programs = {*supervisor.programs()} if running else set()
        cluster, secrets = choose_database(place, kept=programs)
        stage = manifests.read_stage(place, name, secrets | kafka.NO_PASSWORDS)
        broker, url = choose_broker(place, stage, kept=kafka.NAME in programs)
        if url is not None:
            passwords = broker.secrets() if broker else {}
            known = secrets | kafka.NO_PASSWORDS | passwords
            stage = manifests.read_stage(place, name, known, brokers_url=url)
        check_ports(place, stage)
        if not running:
            supervisor.start()
        own = {"haproxy"}
        if cluster is not None:
            start_database(place, supervisor, cluster)
            own.add("postgis")
        if broker is not None:
            start_broker(place, supervisor, broker)
            own |= {kafka.NAME} & {*stage.stateful}
        for job in stage.jobs:
            run(place, job.name, job.command, native_environ(place, stage, job))
        seed(place, secrets, run)

        def finish(name: str, command: tuple[str, ...], environ: Mapping[str, str]) -> None:
            """Where database and broker are now, wherever they were when it was written down."""
            here = {"DATABASE_URL": secrets["DATABASE_URL"], **({"PINGS_URL": url} if url else {})}
            user = broker.settings_of("writer") if broker else {}
            run(place, name, command, {**environ, **here, **user})

        move(place, supervisor, stage, own, finish=finish)
        wait_whole(place)


def choose_database(place: Place, *, kept: set[str]) -> tuple[Cluster | None, dict[str, str]]:
    """The private cluster unless a DATABASE_URL is given, and what stands here for the cluster's Secret.

    `kept` are the programs that run: the private cluster's port may be taken by itself. A system that runs
    moves to other processes, never to other data.
    """
    url = given("DATABASE_URL", place.checkout)
    known = place.state / "env"
    if kept and known.exists() and (url is None) != ("postgis" in kept):
        raise Refused(
            f"What runs here uses {'the private database' if url else 'a DATABASE_URL that was given'}. "
            "Give the same again, or stop it first: make down"
        )
    cluster = None if url else postgis.private_cluster(place, running="postgis" in kept)
    if cluster is not None:
        keep(
            place.state / "cluster", f"{cluster.home}\n"
        )  # where the data is, for whoever wants to remove it
    secrets = {
        "DATABASE_URL": url or (cluster.url if cluster else ""),
        "SECRET_KEY": given("SECRET_KEY", place.checkout)
        or kept_secret(place.state / "secret-key", length=48),
    }
    # Lets a `manage.py` that is typed by hand find the same database.
    settings = secrets | {"ACCESS": place.access}
    keep(known, "".join(f"{key}={value}\n" for key, value in settings.items()))
    tokens = private_directory(place.state / "service-tokens")
    of_processes = {key: kept_token(tokens / key) for key in manifests.token_keys(place)}
    return cluster, secrets | of_processes | {"PROXY_SECRET": wishes.for_proxy(place)["PROXY_SECRET"]}


def choose_broker(place: Place, stage: Stage, *, kept: bool) -> tuple[Broker | None, str | None]:
    """The private broker unless a PINGS_URL names another, and its URL; neither where nobody needs one.

    A stage without a broker needs it, too, for as long as an earlier one has left something to finish.
    """
    if kafka.NAME not in stage.stateful and not owed(place):
        return None, None
    url = given("PINGS_URL", place.checkout)
    if url is not None and url.startswith("kafka:"):
        return None, url
    broker = kafka.private_broker(place, running=kept)
    return broker, broker.url


def start_broker(place: Place, supervisor: Supervisor, broker: Broker) -> None:
    supervisor.add(broker.program())
    if not poll(broker.is_ready, kafka.START_TIMEOUT_S, every_s=0.2):
        raise Refused(f"Kafka does not start. Its last lines:\n{tail(place.logs / 'kafka.log')}")


def start_database(place: Place, supervisor: Supervisor, cluster: Cluster) -> None:
    supervisor.add(cluster.program())
    if not poll(cluster.is_ready, postgis.START_TIMEOUT_S, every_s=0.2):
        raise Refused(f"PostgreSQL does not start. Its last lines:\n{tail(place.logs / 'postgis.log')}")
    cluster.create_database()


def check_ports(place: Place, stage: Stage) -> None:
    """Another program on one of the addresses is better heard of now than after a minute."""
    own = set(read_json(running_file(place)).get("node_ports", ()))
    for port in node_ports(place, stage):
        if port not in own and not postgis.is_free(port):
            raise Refused(
                f"Port {port} is taken by another program. Stop that one, or choose other ports, "
                f"for example: make up CONNECT_PORT_BASE={place.port_base + 1000}"
            )


def run(place: Place, name: str, command: tuple[str, ...], environ: Mapping[str, str]) -> str:
    """Runs to its end what ends by itself; gives what it printed."""
    log = place.logs / f"{name}.log"
    environ = inherited() | {MARK: str(place.state), "ACCESS": place.access} | dict(environ)
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
