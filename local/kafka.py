"""A Kafka broker of the system's own, or of one test run's: one node that is its own controller, on loopback.

Its storage always has the users of the manifests. With ACCESS=tokens clients must authenticate as one of them
and need access rules; with ACCESS=open the listeners are plain text, and everybody may do everything.
"""

import contextlib
import json
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from local import jars
from local.instance import CHECKOUT, Instance, Refused, keep, private_directory, read_json, say, write
from local.polling import poll
from local.postgis import free_port, is_free
from local.supervision import Program, tail

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30
# On one machine a quick start is worth more than compiled code: it takes two thirds of the processor time.
QUICK_START = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
HEAP = ("-Xms64m", "-Xmx512m", "-XX:+ExitOnOutOfMemoryError", *QUICK_START)
SMALL_HEAP = ("-Xmx256m", *QUICK_START)
# It goes at once when the test run is killed without a chance to clean up. By a program and not in a forked
# child: tests start brokers from processes in which gRPC has threads.
END_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")
QUIET = "-Dlog4j2.level=WARN"

SETTINGS = CHECKOUT / "k8s" / "6-kafka" / "server.properties"
NAME = "kafka"  # of the StatefulSet that it stands for
USERS = ("admin", "producer", "writer", "observer")  # as k8s/6-kafka names them; `admin` is the super user
MECHANISM = "SCRAM-SHA-512"


def secret_name(user: str) -> str:
    return f"KAFKA_{user.upper()}_PASSWORD"


NO_PASSWORDS = {secret_name(user): "" for user in USERS}  # for a reader of the manifests that needs none


@dataclass(frozen=True)
class Broker:
    """`home` holds `data/`, the settings, and `kafka.json` with ports, the cluster's id and the passwords."""

    home: Path
    port: int
    controller_port: int
    cluster_id: str
    passwords: Mapping[str, str]  # of each of USERS
    is_secured: bool = False
    options: tuple[str, ...] = HEAP

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def properties(self) -> Path:
        """Another file for another ACCESS, so that a running broker is restarted with it."""
        return self.home / ("server-secured.properties" if self.is_secured else "server.properties")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """As PINGS_URL has it."""
        return f"kafka://{self.address}"

    def secrets(self) -> dict[str, str]:
        """The passwords by the names that they have in the Secret of a cluster."""
        return {secret_name(user): password for user, password in self.passwords.items()}

    def settings_of(self, user: str) -> dict[str, str]:
        """What a process that acts as the user has in its environment; empty values where nobody is asked."""
        if not self.is_secured:
            return {"KAFKA_USER": "", "KAFKA_PASSWORD": ""}
        return {"KAFKA_USER": user, "KAFKA_PASSWORD": self.passwords[user]}

    def client(self, user: str) -> dict[str, str]:
        """The configuration of a client of librdkafka that acts as the user."""
        config = {"bootstrap.servers": self.address}
        if self.is_secured:
            config |= {
                "security.protocol": "SASL_PLAINTEXT",
                "sasl.mechanism": MECHANISM,
                "sasl.username": user,
                "sasl.password": self.passwords[user],
            }
        return config

    def command(self) -> list[str]:
        return jars.command("kafka.Kafka", str(self.properties), options=(*self.options, QUIET))

    def program(self) -> Program:
        """SIGTERM, on which it closes its files; its clients need not have left."""
        return Program(
            name=NAME,
            command=self.command(),
            directory=self.home,
            priority=100,
            stop_signal="TERM",
            stop_s=STOP_TIMEOUT_S,
        )

    def is_ready(self, timeout_s: float = 5) -> bool:
        """Whether the broker answers the admin user."""
        try:
            return bool(
                AdminClient({**self.client("admin"), "log_level": 0}).list_topics(timeout=timeout_s).brokers
            )
        except KafkaException:
            return False


def private_broker(instance: Instance, *, running: bool) -> Broker:
    """The system's broker, made if need be. Its ports stay, unless somebody took them in the meantime."""
    home = private_directory(instance.state / "kafka")
    known = read_json(home / "kafka.json")
    if not known and (home / "data").exists():
        raise Refused(f"{home} holds the data of a broker whose id is lost; move it away to start anew.")
    if instance.access == "tokens" and (home / "data").exists() and "passwords" not in known:
        raise Refused(
            f"The broker's data in {home} was made without users, which ACCESS=tokens needs. Start once with "
            f"ACCESS=open STAGE=5, which stores the pings in it; then remove {home} and start again."
        )
    known.setdefault("cluster_id", secrets.token_urlsafe(16))
    if not (home / "data").exists():
        known["passwords"] = new_passwords()
    taken: frozenset[int] = frozenset()
    for name in ("port", "controller_port"):
        if name not in known or not (running or is_free(known[name])):
            known[name] = free_port(taken)
        taken |= {known[name]}
    if known != read_json(home / "kafka.json"):
        write(home / "kafka.json", json.dumps(known, indent=1) + "\n")
    ports = (known["port"], known["controller_port"])
    passwords = known.get("passwords", {})
    broker = Broker(home, *ports, known["cluster_id"], passwords, is_secured=instance.access == "tokens")
    if not broker.data.exists():
        say(f"Making a Kafka broker in {home}.")
    make_data(broker, settings(broker))
    if broker.is_secured:
        lines = {"PINGS_URL": broker.url, **broker.settings_of("admin")}
        keep(admin_file(instance), text(lines))  # for a `manage.py` that is typed by hand
    return broker


def admin_file(instance: Instance) -> Path:
    return instance.state / "kafka" / "admin.env"


def new_passwords() -> dict[str, str]:
    return {user: secrets.token_hex(24) for user in USERS}


def make_data(broker: Broker, lines: Mapping[str, str]) -> None:
    """Writes the settings, and formats the storage: aside, so that an interrupted one is begun again."""
    if not broker.data.exists():
        unfinished = broker.home / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        aside = broker.home / "format.properties"
        write(aside, text({**lines, "log.dirs": str(unfinished)}))
        users = [
            f"--add-scram={MECHANISM}=[name={user},password={password}]"
            for user, password in broker.passwords.items()
        ]
        arguments = ("format", f"--cluster-id={broker.cluster_id}", "-c", str(aside), *users)
        java, *rest = jars.command("kafka.tools.StorageTool", *arguments, options=(*SMALL_HEAP, QUIET))
        # By a file: every user of the machine can read the arguments of a process.
        told = broker.home / "format.arguments"
        write(told, "".join(f'"{argument}"\n' for argument in rest))
        result = subprocess.run([java, f"@{told}"], capture_output=True, text=True, check=False)
        aside.unlink()
        told.unlink()
        if result.returncode != 0:
            raise Refused(f"The broker's storage could not be made:\n{result.stdout}{result.stderr}")
        unfinished.rename(broker.data)
    if not broker.properties.exists() or broker.properties.read_text() != text(lines):
        write(broker.properties, text(lines))


def text(lines: Mapping[str, str]) -> str:
    return "".join(f"{key}={value}\n" for key, value in lines.items())


def settings(broker: Broker) -> dict[str, str]:
    """Those of the cluster's broker, with other addresses, another folder and the passwords."""
    text = SETTINGS.read_text()
    for name, password in broker.secrets().items():
        text = text.replace(f"${{env:{name}}}", password)
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    found = {
        key: value
        for key, value in (line.split("=", 1) for line in lines)
        if not key.startswith("config.providers") and (broker.is_secured or not is_about_users(key))
    }
    controller = f"127.0.0.1:{broker.controller_port}"
    if not broker.is_secured:
        found["listener.security.protocol.map"] = "CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT"
    return found | {
        "controller.quorum.voters": f"1@{controller}",
        "listeners": f"CLIENTS://{broker.address},CONTROLLER://{controller}",
        "advertised.listeners": f"CLIENTS://{broker.address}",
        "log.dirs": str(broker.data),
    }


def is_about_users(key: str) -> bool:
    return key.startswith(("sasl.", "listener.name.", "authorizer.", "super.users"))


@contextlib.contextmanager
def throwaway_broker() -> Iterator[Broker]:
    """A broker for one test run: it runs, and is gone afterwards."""
    with throwaway_storage() as broker, running(broker):
        yield broker


@contextlib.contextmanager
def throwaway_storage(*, is_secured: bool = False) -> Iterator[Broker]:
    """A broker that whoever asked for it starts and stops; gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix="connect-test-kafka-"))
    try:
        port = free_port()
        ports = (port, free_port(frozenset({port})))
        cluster_id = secrets.token_urlsafe(16)
        broker = Broker(home, *ports, cluster_id, new_passwords(), is_secured=is_secured, options=SMALL_HEAP)
        make_data(broker, settings(broker))
        yield broker
    finally:
        shutil.rmtree(home)


@contextlib.contextmanager
def running(broker: Broker) -> Iterator["subprocess.Popen[bytes]"]:
    """The broker's process, ready; killed afterwards, for nobody reads its files any more."""
    with (broker.home / "log").open("ab") as log:
        process = subprocess.Popen(
            [*END_WITH_PARENT, *broker.command()],
            cwd=broker.home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # so that Ctrl-C does not reach it before the tests have ended
        )
    try:
        poll(lambda: broker.is_ready() or process.poll() is not None, START_TIMEOUT_S)
        if process.poll() is not None or not broker.is_ready():
            raise Refused(f"The broker did not start:\n{tail(broker.home / 'log')}")
        yield process
    finally:
        process.kill()
        process.wait(STOP_TIMEOUT_S)
