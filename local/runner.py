"""`make up` and `make down`: from whatever there is to a whole system, and back to nothing.

Each step is done only where it is missing, so what an interrupted run left half done the next one completes.
"""

import shutil
import subprocess
from collections.abc import Mapping

from local import kafka, manifests, postgis, setting_overrides
from local.instance import (
    VENV,
    Instance,
    Refused,
    given,
    keep,
    kept_secret,
    kept_token,
    private_directory,
    read_json,
)
from local.kafka import Broker
from local.manifests import Stage
from local.polling import poll
from local.postgis import Cluster
from local.rollout import move, native_environ, node_ports, owed, running_file, wait_whole
from local.seed import seed
from local.supervision import MARK, Supervisor, end_leftovers, inherited, tail


def up(instance: Instance, wanted: str | None) -> None:
    instance.make()
    with instance.lock():
        name = manifests.find_stage(instance, wanted)
        supervisor = Supervisor(instance)
        running = supervisor.settle()
        if not running:
            end_leftovers(instance)
            for file in [*instance.programs.glob("*.ini"), running_file(instance)]:
                file.unlink(missing_ok=True)
        programs = {*supervisor.programs()} if running else set()
        cluster, secrets = choose_database(instance, kept=programs)
        stage = manifests.read_stage(instance, name, secrets | kafka.NO_PASSWORDS)
        broker, url = choose_broker(instance, stage, kept=kafka.NAME in programs)
        if url is not None:
            passwords = broker.secrets() if broker else {}
            known = secrets | kafka.NO_PASSWORDS | passwords
            stage = manifests.read_stage(instance, name, known, brokers_url=url)
        check_ports(instance, stage)
        if not running:
            supervisor.start()
        own = {"haproxy"}
        if cluster is not None:
            start_database(instance, supervisor, cluster)
            own.add("postgis")
        if broker is not None:
            start_broker(instance, supervisor, broker)
            own |= {kafka.NAME} & {*stage.stateful}
        for job in stage.jobs:
            run(instance, job.name, job.command, native_environ(instance, stage, job))
        seed(instance, secrets, run)

        def finish(name: str, command: tuple[str, ...], environ: Mapping[str, str]) -> None:
            """Where database and broker are now, wherever they were when it was written down."""
            here = {"DATABASE_URL": secrets["DATABASE_URL"], **({"PINGS_URL": url} if url else {})}
            user = broker.settings_of("writer") if broker else {}
            run(instance, name, command, {**environ, **here, **user})

        move(instance, supervisor, stage, own, finish=finish)
        wait_whole(instance)


def choose_database(instance: Instance, *, kept: set[str]) -> tuple[Cluster | None, dict[str, str]]:
    """The private cluster unless a DATABASE_URL is given, and what stands here for the cluster's Secret.

    `kept` are the programs that run: the private cluster's port may be taken by itself. A system that runs
    moves to other processes, never to other data.
    """
    url = given("DATABASE_URL", instance.checkout)
    known = instance.state / "env"
    if kept and known.exists() and (url is None) != ("postgis" in kept):
        raise Refused(
            f"What runs here uses {'the private database' if url else 'a DATABASE_URL that was given'}. "
            "Give the same again, or stop it first: make down"
        )
    cluster = None if url else postgis.private_cluster(instance, running="postgis" in kept)
    if cluster is not None:
        keep(
            instance.state / "cluster", f"{cluster.home}\n"
        )  # where the data is, for whoever wants to remove it
    secrets = {
        "DATABASE_URL": url or (cluster.url if cluster else ""),
        "SECRET_KEY": given("SECRET_KEY", instance.checkout)
        or kept_secret(instance.state / "secret-key", length=48),
    }
    # Lets a `manage.py` that is typed by hand find the same database.
    settings = secrets | {
        "ACCESS": instance.access,
        "APP_URL": setting_overrides.for_proxy(instance)["APP_URL"],
    }
    keep(known, "".join(f"{key}={value}\n" for key, value in settings.items()))
    tokens = private_directory(instance.state / "service-tokens")
    of_processes = {key: kept_token(tokens / key) for key in manifests.token_keys(instance)}
    return cluster, secrets | of_processes | {
        "PROXY_SECRET": setting_overrides.for_proxy(instance)["PROXY_SECRET"]
    }


def choose_broker(instance: Instance, stage: Stage, *, kept: bool) -> tuple[Broker | None, str | None]:
    """The private broker unless a PINGS_URL names another, and its URL; neither where nobody needs one.

    A stage without a broker needs it, too, for as long as an earlier one has left something to finish.
    """
    if kafka.NAME not in stage.stateful and not owed(instance):
        return None, None
    url = given("PINGS_URL", instance.checkout)
    if url is not None and url.startswith("kafka:"):
        return None, url
    broker = kafka.private_broker(instance, running=kept)
    return broker, broker.url


def start_broker(instance: Instance, supervisor: Supervisor, broker: Broker) -> None:
    supervisor.add(broker.program())
    if not poll(broker.is_ready, kafka.START_TIMEOUT_S, every_s=0.2):
        raise Refused(f"Kafka does not start. Its last lines:\n{tail(instance.logs / 'kafka.log')}")


def start_database(instance: Instance, supervisor: Supervisor, cluster: Cluster) -> None:
    supervisor.add(cluster.program())
    if not poll(cluster.is_ready, postgis.START_TIMEOUT_S, every_s=0.2):
        raise Refused(f"PostgreSQL does not start. Its last lines:\n{tail(instance.logs / 'postgis.log')}")
    cluster.create_database()


def check_ports(instance: Instance, stage: Stage) -> None:
    """Another program on one of the addresses is better heard of now than after a minute."""
    own = set(read_json(running_file(instance)).get("node_ports", ()))
    for port in node_ports(instance, stage):
        if port not in own and not postgis.is_free(port):
            raise Refused(
                f"Port {port} is taken by another program. Stop that one, or choose other ports, "
                f"for example: make up CONNECT_PORT_BASE={instance.port_base + 1000}"
            )


def run(instance: Instance, name: str, command: tuple[str, ...], environ: Mapping[str, str]) -> str:
    """Runs to its end what ends by itself; gives what it printed."""
    log = instance.logs / f"{name}.log"
    environ = inherited() | {MARK: str(instance.state), "ACCESS": instance.access} | dict(environ)
    program = VENV / "bin" / command[0]
    result = subprocess.run(
        [str(program), *command[1:]],
        cwd=instance.checkout,
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


def down(instance: Instance) -> bool:
    """Stops everything; False when nothing ran. The data stays."""
    instance.make()
    with instance.lock():
        supervisor = Supervisor(instance)
        ran = supervisor.pid() is not None
        supervisor.stop()
        end_leftovers(instance)
        running_file(instance).unlink(missing_ok=True)
        shutil.rmtree(instance.sockets())
        return ran
