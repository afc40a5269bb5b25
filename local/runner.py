"""`make up` and `make down`.

Each step of `make up` does only what is missing, so the next run completes an interrupted one.
"""

import shutil
from collections.abc import Callable, Mapping
from secrets import token_hex, token_urlsafe

from local import kafka, manifests, postgis, setting_overrides
from local.instance import Instance, Refused, given, kept_secret, locked, private_directory, read_json, write
from local.kafka import Broker
from local.manifests import Stage
from local.polling import poll
from local.postgis import Cluster
from local.rollout import move, native_environ, node_ports, pending_tasks, running_file, wait_whole
from local.seed import LIVE, live, seed
from local.supervision import Program, Supervisor, end_leftovers, run, tail

START_TIMEOUT_S = 60  # of the database and of the broker


def up(instance: Instance, wanted: str | None = None) -> None:
    instance.make()
    with locked(instance.state / "lock"):
        name = manifests.find_stage(instance, wanted)
        supervisor = Supervisor(instance)
        running = supervisor.settle()
        if not running:
            end_leftovers(instance)
            for file in [*instance.programs.glob("*.ini"), running_file(instance)]:
                file.unlink(missing_ok=True)
        programs = {*supervisor.programs()} if running else set()
        cluster, secrets = choose_database(instance, programs)
        known = secrets | kafka.NO_PASSWORDS
        stage = manifests.read_stage(instance, name, known)
        broker, url = choose_broker(instance, stage, running=kafka.NAME in programs)
        if url is not None:
            known |= broker.secrets() if broker else {}
            stage = manifests.read_stage(instance, name, known, brokers_url=url)
        check_ports(instance, stage)
        if not running:
            supervisor.start()
        own = {"haproxy"}  # programs that are not in the manifests
        if cluster is not None:
            start(supervisor, cluster.program(), cluster.is_ready)
            cluster.create_database()
            own.add("postgis")
        if broker is not None:
            start(supervisor, broker.program(), broker.is_ready)
            own |= {kafka.NAME} & {*stage.stateful}
        for job in stage.jobs:
            run(instance, job.command, native_environ(instance, stage, job))
        is_simulated = seed(instance, secrets)

        def finish(command: tuple[str, ...], environ: Mapping[str, str]) -> None:
            """Runs a pending task with the current addresses of database and broker."""
            here = {"DATABASE_URL": secrets["DATABASE_URL"], **({"PINGS_URL": url} if url else {})}
            user = broker.settings_of("writer") if broker else {}
            run(instance, command, {**environ, **here, **user})

        simulation = live(instance, stage, secrets) if is_simulated else None
        if LIVE in programs and not (simulation and supervisor.has(simulation)):
            supervisor.remove(LIVE)  # before a broker that it uses goes away
        move(instance, supervisor, stage, own | {LIVE}, finish=finish)
        wait_whole(instance)
        if simulation is not None:
            start(supervisor, simulation, lambda: supervisor.programs()[LIVE]["statename"] == "RUNNING")


def choose_database(instance: Instance, programs: set[str]) -> tuple[Cluster | None, dict[str, str]]:
    """The private cluster, or None if a DATABASE_URL is given; and the values of the cluster's Secret.

    A running system cannot change to another database.
    """
    url, kept = given("DATABASE_URL"), "postgis" in programs
    env_file = instance.state / "env"
    if programs and env_file.exists() and (url is None) != kept:
        used = "the private database" if url else "a given DATABASE_URL"
        raise Refused(f"The running system uses {used}. Use the same, or stop it first: make down")
    cluster = None if url else postgis.private_cluster(instance, running=kept)
    if cluster is not None:  # for people who want to remove the data
        write(instance.state / "cluster", f"{cluster.home}\n")
    secrets = {
        "DATABASE_URL": url or (cluster.url if cluster else ""),
        "SECRET_KEY": given("SECRET_KEY") or kept_secret(instance.state / "secret-key", token_urlsafe(48)),
    }
    of_proxy = setting_overrides.for_proxy(instance)
    # For a `manage.py` that a person runs.
    settings = secrets | {"ACCESS": instance.access, "APP_URL": of_proxy["APP_URL"]}
    write(env_file, "".join(f"{key}={value}\n" for key, value in settings.items()))
    tokens = private_directory(instance.state / "service-tokens")
    for key in manifests.token_keys(instance):  # in the form of access/services.py
        secrets[key] = kept_secret(tokens / key, f"{token_hex(4)}.{token_hex(32)}")
    return cluster, secrets | {"PROXY_SECRET": of_proxy["PROXY_SECRET"]}


def choose_broker(instance: Instance, stage: Stage, *, running: bool) -> tuple[Broker | None, str | None]:
    """The private broker, or None if PINGS_URL names another; and its URL. Both None if no broker is needed.

    A stage without a broker needs one as long as tasks of an earlier stage are pending.
    """
    if kafka.NAME not in stage.stateful and not pending_tasks(instance):
        return None, None
    url = given("PINGS_URL")
    if url is not None and url.startswith("kafka:"):
        return None, url
    broker = kafka.private_broker(instance, running=running)
    return broker, broker.url


def start(supervisor: Supervisor, program: Program, is_ready: Callable[[], bool]) -> None:
    supervisor.add(program)
    if not poll(is_ready, START_TIMEOUT_S, every_s=0.2):
        log = tail(supervisor.instance.logs / f"{program.name}.log")
        raise Refused(f"{program.name} does not start. The end of its log:\n{log}")


def check_ports(instance: Instance, stage: Stage) -> None:
    """Finds ports of other programs before anything starts."""
    own = set(read_json(running_file(instance)).get("node_ports", ()))
    for port in node_ports(instance, stage):
        if port not in own and not postgis.is_free(port):
            raise Refused(
                f"Port {port} is taken by another program. Stop it, or choose other ports, "
                f"for example: make up CONNECT_PORT_BASE={instance.port_base + 1000}"
            )


def down(instance: Instance) -> bool:
    """Stops all programs; False if none ran. The data stays."""
    instance.make()
    with locked(instance.state / "lock"):
        supervisor = Supervisor(instance)
        ran = supervisor.pid() is not None
        supervisor.stop()
        end_leftovers(instance)
        running_file(instance).unlink(missing_ok=True)
        shutil.rmtree(instance.sockets())
        return ran
