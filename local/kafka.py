"""A Kafka broker of one system or one test run: a single node that is its own controller, on loopback.

Its storage always contains the users of k8s/6-kafka. With ACCESS=tokens clients authenticate as one of them
and need access rules; with ACCESS=open the listeners are plain text and every client may do everything.
"""

import contextlib
import json
import secrets
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from local import jars, throwaway
from local.instance import CHECKOUT, Instance, output_of, private_directory, read_json, replaced, say, write
from local.postgis import free_port, is_free
from local.supervision import Program

STOP_TIMEOUT_S = 30
HEAP = ("-Xms64m", "-Xmx512m", "-XX:+ExitOnOutOfMemoryError")
# A test run lasts minutes, so the optimizing compiler does not pay off.
SMALL_HEAP = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
QUIET = "-Dlog4j2.level=WARN"

SETTINGS = CHECKOUT / "k8s" / "6-kafka" / "server.properties"
NAME = "kafka"  # of the StatefulSet
FIRST_USERS = ("admin", "producer", "writer", "observer")  # as in k8s/6-kafka; `admin` is the super user
LATER_USERS = ("finder", "live", "webhooks")  # those that the job of k8s/7-live creates
USERS = FIRST_USERS + LATER_USERS
MECHANISM = "SCRAM-SHA-512"


def secret_name(user: str) -> str:
    return f"KAFKA_{user.upper()}_PASSWORD"


NO_PASSWORDS = {secret_name(user): "" for user in USERS}  # for readers of the manifests that need none


@dataclass(frozen=True)
class Broker:
    """`home` contains `data/`, the settings, and `kafka.json` with ports, cluster id and passwords."""

    home: Path
    port: int
    controller_port: int
    cluster_id: str
    passwords: Mapping[str, str]  # by user
    is_secured: bool = False
    options: tuple[str, ...] = HEAP

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def properties(self) -> Path:
        """A different file for each ACCESS, so that a change of ACCESS restarts a running broker."""
        return self.home / ("server-secured.properties" if self.is_secured else "server.properties")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The value of PINGS_URL."""
        return f"kafka://{self.address}"

    def secrets(self) -> dict[str, str]:
        """The passwords by their names in the Secret of a cluster."""
        return {secret_name(user): password for user, password in self.passwords.items()}

    def settings_of(self, user: str) -> dict[str, str]:
        """The environment of a process that authenticates as the user."""
        if not self.is_secured:
            return {"KAFKA_USER": "", "KAFKA_PASSWORD": ""}
        return {"KAFKA_USER": user, "KAFKA_PASSWORD": self.passwords[user]}

    def client(self, user: str) -> dict[str, str]:
        """The configuration of a client of librdkafka that authenticates as the user."""
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
        """On SIGTERM it closes its files without waiting for its clients."""
        return Program(NAME, self.command(), self.home, priority=100, stop_s=STOP_TIMEOUT_S)

    def is_ready(self, timeout_s: float = 5) -> bool:
        """Whether the broker answers the admin user."""
        try:
            client = AdminClient({**self.client("admin"), "log_level": 0})
            return bool(client.list_topics(timeout=timeout_s).brokers)
        except KafkaException:
            return False


def completed(known: dict[str, Any], *, running: bool = False) -> dict[str, Any]:
    """With id, passwords and ports where they are missing, and other ports for those that are taken."""
    known.setdefault("cluster_id", secrets.token_urlsafe(16))
    known["passwords"] = {user: secrets.token_hex(24) for user in USERS} | known.get("passwords", {})
    for name in ("port", "controller_port"):
        if name not in known or not (running or is_free(known[name])):
            known[name] = free_port()
    return known


def private_broker(instance: Instance, *, running: bool) -> Broker:
    """The system's broker, made at the first call. A port changes only if another program has taken it."""
    home = private_directory(instance.state / "kafka")
    known = completed(read_json(home / "kafka.json"), running=running)
    write(home / "kafka.json", json.dumps(known, indent=1) + "\n")
    broker = Broker(home, **known, is_secured=instance.access == "tokens")
    if not broker.data.exists():
        say(f"Making a Kafka broker in {home}.")
    make_data(broker)
    if broker.is_secured:  # for a `manage.py` that a person runs
        write(admin_file(instance), properties({"PINGS_URL": broker.url, **broker.settings_of("admin")}))
    return broker


def admin_file(instance: Instance) -> Path:
    return instance.state / "kafka" / "admin.env"


def make_data(broker: Broker) -> None:
    """Formats the storage if there is none, and writes the settings."""
    lines = settings(broker)
    if not broker.data.exists():
        with replaced(broker.data) as unfinished, tempfile.TemporaryDirectory(dir=broker.home) as folder:
            format_storage(broker, {**lines, "log.dirs": str(unfinished)}, Path(folder))
    write(broker.properties, properties(lines))


def format_storage(broker: Broker, lines: Mapping[str, str], folder: Path) -> None:
    write(folder / "properties", properties(lines))
    arguments = ["format", f"--cluster-id={broker.cluster_id}", "-c", str(folder / "properties")]
    passwords = {name: broker.passwords[name] for name in FIRST_USERS}
    for name, password in passwords.items():
        arguments.append(f"--add-scram={MECHANISM}=[name={name},password={password}]")
    java, *rest = jars.command("kafka.tools.StorageTool", *arguments, options=(*SMALL_HEAP, QUIET))
    # A file, because every user of the machine can read the arguments of a process.
    write(folder / "arguments", "".join(f'"{argument}"\n' for argument in rest))
    output_of([java, f"@{folder / 'arguments'}"], "The broker's storage could not be made:")


def properties(lines: Mapping[str, str]) -> str:
    return "".join(f"{key}={value}\n" for key, value in lines.items())


def settings(broker: Broker) -> dict[str, str]:
    """The settings of the cluster's broker with other addresses, another folder and the passwords."""
    text = SETTINGS.read_text()
    for name, password in broker.secrets().items():
        text = text.replace(f"${{env:{name}}}", password)
    lines = (line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))
    found = {key: value for key, value in lines if not key.startswith("config.providers")}
    if not broker.is_secured:
        users = ("sasl.", "listener.name.", "authorizer.", "super.users")
        found = {key: value for key, value in found.items() if not key.startswith(users)}
        found["listener.security.protocol.map"] = "CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT"
    controller = f"127.0.0.1:{broker.controller_port}"
    return found | {
        "controller.quorum.voters": f"1@{controller}",
        "listeners": f"CLIENTS://{broker.address},CONTROLLER://{controller}",
        "advertised.listeners": f"CLIENTS://{broker.address}",
        "log.dirs": str(broker.data),
    }


@contextlib.contextmanager
def throwaway_storage(*, is_secured: bool = False) -> Iterator[Broker]:
    """A broker that the caller starts and stops, deleted at the end."""
    with tempfile.TemporaryDirectory(prefix="connect-test-kafka-") as home:
        broker = Broker(Path(home), **completed({}), is_secured=is_secured, options=SMALL_HEAP)
        make_data(broker)
        yield broker


def running(broker: Broker) -> contextlib.AbstractContextManager["subprocess.Popen[bytes]"]:
    """The broker's process, ready. It is killed at the end, because nothing reads its files afterwards."""
    return throwaway.running(broker.command(), broker.home, broker.is_ready, signal.SIGKILL)
