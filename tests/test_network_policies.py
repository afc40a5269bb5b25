"""Who may ask whom in a cluster: all that the wiring, the routes and the database need, and nothing else.

The policies are evaluated as Kubernetes says: a connection needs leave at both of its ends, where any policy
that selects a pod closes it but for what one of them lets through.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from connect.neighbours import neighbour_settings, watched_groups
from local import manifests
from tests.renderings import NEIGHBOURS, STAGES, as_read, of_kind, templates

CONNECT, SYSTEM = "connect", "kube-system"
RECEIVERS_ARE_OUTSIDE = "webhooks"
OWN_NAMESPACE = {"matchLabels": {"kubernetes.io/metadata.name": CONNECT}}


@dataclass(frozen=True)
class Pod:
    name: str
    namespace: str
    labels: tuple[tuple[str, str], ...]
    ports: tuple[str | int, ...] = ()


OUTSIDE = Pod("outside", "", ())
STRANGER = Pod("stranger", "default", (("asks-database", "true"), ("app.kubernetes.io/component", "proxy")))
NAMES = Pod("names", SYSTEM, (("k8s-app", "kube-dns"),), (53,))
METRICS = Pod("metrics", SYSTEM, (("k8s-app", "metrics-server"),), (53, "https"))


def pods(stage: str) -> list[Pod]:
    found = []
    for one, template in templates(stage):
        ports = [port["name"] for port in template["spec"]["containers"][0].get("ports", ())]
        labels = template["metadata"]["labels"].items()
        found.append(Pod(one["metadata"]["name"], CONNECT, tuple(labels), tuple(ports)))
    return found


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    assert selector.keys() <= {"matchLabels", "matchExpressions"}
    for one in selector.get("matchExpressions", ()):
        assert one["operator"] == "In"
        if labels.get(one["key"]) not in one["values"]:
            return False
    return labels.items() >= selector.get("matchLabels", {}).items()


def is_peer(peer: dict[str, Any], pod: Pod) -> bool:
    if "ipBlock" in peer:  # of the internet: the addresses of pods are private
        return not pod.namespace
    assert peer.keys() <= {"podSelector", "namespaceSelector"}
    names = {"kubernetes.io/metadata.name": pod.namespace}
    there = selects(peer.get("namespaceSelector", OWN_NAMESPACE), names)
    return there and selects(peer.get("podSelector", {}), dict(pod.labels))


def lets(stage: str, way: str, pod: Pod, other: Pod, port: str | int) -> bool:
    """Whether this end lets the connection through; `way` is Ingress or Egress, seen from `pod`."""
    if pod.namespace != CONNECT:
        return True
    closing = [
        one["spec"]
        for one in of_kind(stage, "NetworkPolicy").values()
        if way in one["spec"]["policyTypes"] and selects(one["spec"]["podSelector"], dict(pod.labels))
    ]
    peers = {"Ingress": "from", "Egress": "to"}[way]
    return not closing or any(
        (peers not in rule or any(is_peer(peer, other) for peer in rule[peers]))
        and ("ports" not in rule or port in [one["port"] for one in rule["ports"]])
        for policy in closing
        for rule in policy.get(way.lower(), ())
    )


def may_ask(stage: str, source: Pod, target: Pod, port: str | int) -> bool:
    return lets(stage, "Egress", source, target, port) and lets(stage, "Ingress", target, source, port)


def needed(stage: str) -> Iterator[tuple[str, str, str]]:
    """Who asks whom at which port, by what the stage says elsewhere."""
    read, services = as_read(stage), of_kind(stage, "Service")

    def at(host: str, port: int) -> tuple[str, str]:
        service = services[host]["spec"]
        target = next(one["targetPort"] for one in service["ports"] if one["port"] == port)
        return service["selector"][manifests.NAME_LABEL], target

    for name, service in services.items():
        for port in service["spec"]["ports"]:
            if "nodePort" in port:
                yield ("outside", *at(name, port["port"]))
                if name.endswith(manifests.DOOR):
                    behind = name.removesuffix(manifests.DOOR)
                    yield ("proxy", *at(behind, services[behind]["spec"]["ports"][-1]["port"]))
    for line in (read.routes or "").splitlines():
        if not line.startswith("#"):
            yield ("proxy", *at(line.split()[1], 8000))
    for process in (*read.processes, *read.jobs, *read.scheduled):
        if process.environ.get("DATABASE_URL"):
            yield (process.name, *at("postgis", 5432))
        urls = {setting: process.environ.get(setting, "local:") for setting in NEIGHBOURS}
        apps = (process.environ.get("SERVED_APPS") or "locations").split(",")
        for setting, url in ((name, urlsplit(url)) for name, url in urls.items()):
            # The whole wiring is read by whoever asks neighbours, but only doors hand pings to the broker,
            # and only those that watch its consumer groups ask it about them.
            uses = any(
                setting in (neighbour_settings(app) or ()) or watched_groups(app, urls) for app in apps
            )
            if url.scheme != "local" and (url.scheme != "kafka" or uses):
                yield (process.name, *at(url.hostname or "", url.port or 0))


@pytest.mark.parametrize("stage", STAGES)
def test_they_may_ask_whom_they_need_and_nobody_else(stage: str) -> None:
    allowed = {
        (source.name, target.name, port)
        for source in (OUTSIDE, *pods(stage))
        for target in pods(stage)
        for port in target.ports
        if may_ask(stage, source, target, port)
    }
    # The proxy is the same at every stage, so it has doors that a stage does not have yet, or any more.
    unused = {one for one in allowed if one[:2] == ("outside", "proxy")}
    assert allowed - unused == set(needed(stage)) - unused
    assert {one for one in needed(stage) if one[0] == "outside"} <= unused


def test_those_who_need_no_data_cannot_reach_the_database() -> None:
    for stage in STAGES:
        reaching = {
            source.name
            for source in (OUTSIDE, STRANGER, *pods(stage))
            for target in pods(stage)
            if target.name == "postgis" and may_ask(stage, source, target, "postgresql")
        }
        jobs = {"migrate", "drop-old-locations"}
        assert reaching <= {
            "web",
            "persons",
            "locations",
            "location-writer",
            "encounters",
            "encounter-finder",
            "webhooks",
            *jobs,
        }


@pytest.mark.parametrize("stage", STAGES)
def test_out_of_the_namespace_everybody_asks_for_names_and_nobody_for_more(stage: str) -> None:
    for pod in pods(stage):
        assert may_ask(stage, pod, NAMES, 53)
        assert not may_ask(stage, pod, METRICS, 53)
        assert not may_ask(stage, pod, METRICS, "https")
        assert may_ask(stage, pod, OUTSIDE, 443) == (pod.name == RECEIVERS_ARE_OUTSIDE)
