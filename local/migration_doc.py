"""The generated blocks of docs/migration.md: a drawing of each stage, the step to it, and what it needed."""

import difflib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from connect.neighbours import neighbour_settings, watched_groups
from local import manifests
from local.instance import Instance
from local.kafka import NAME as BROKER
from local.kafka import NO_PASSWORDS
from local.manifests import Process, Stage

TARGET = "docs/migration.md"
# Values for the Secrets, which renderings only refer to.
SECRETS = defaultdict(lambda: "-", DATABASE_URL="postgis:", **NO_PASSWORDS)
SENDER, READER = "finder", "webhooks"  # the broker's users who send and read encounters
LABELS = {"PERSONS_URL": "who", "LOCATIONS_URL": "where", "PINGS_URL": "pings"}


def updated(instance: Instance, text: str) -> str:
    """The document with new blocks."""
    names = manifests.stage_names(instance)
    stages = [manifests.read_stage(instance, name, SECRETS) for name in names]
    for before, stage in zip([None, *stages], stages, strict=False):
        text = replaced(text, stage.name, f"{picture(stage, before)}\n\n{step(stage, before)}")
    return replaced(text, "steps", table(instance, stages))


def replaced(text: str, block: str, content: str) -> str:
    begin, end = f"<!-- {block}: begin -->\n", f"<!-- {block}: end -->"
    head, _, rest = text.partition(begin)
    return f"{head}{begin}\n{content}\n\n{end}{rest.partition(end)[2]}"


# --- the picture ---------------------------------------------------------------------------------


def picture(stage: Stage, before: Stage | None) -> str:
    """The processes and their calls. New and changed ones have a thick border."""
    shown = nodes(stage)
    lines = ["flowchart LR", "  clients([clients])"]
    lines += [f"  {node(name)}{shape}" for name, (shape, _) in shown.items()]
    for service in stage.services:
        if service.node_port is not None:
            lines.append(edge("clients", service.process or "proxy", str(service.node_port)))
    lines += [edge("proxy", to, path) for path, to in routes(stage)]
    for process in stage.processes:
        user = process.environ.get("KAFKA_USER")
        for to, label in calls(process):
            is_worker = process.ready_command is not None  # it reads from the broker
            said = "encounters · kafka" if user == READER else label
            lines.append(edge(to, process.name, said) if is_worker else edge(process.name, to, said))
        if user == SENDER:
            lines.append(edge(process.name, BROKER, "encounters · kafka"))
        if process.environ.get("DATABASE_URL"):
            lines.append(edge(process.name, "postgis"))
    if before is not None:
        new = [node(name) for name, one in shown.items() if nodes(before).get(name) != one]
        lines += ["  classDef new stroke-width:3px", f"  class {','.join(new)} new"]
    return "\n".join(["```mermaid", *lines, "```"])


def nodes(stage: Stage) -> dict[str, tuple[str, object]]:
    """By name: the shape of a node, and what makes it a changed one."""
    found: dict[str, tuple[str, object]] = {name: (f"[({name})]", None) for name in stage.stateful}
    found |= {one.name: (f"[{one.name}]", one) for one in stage.processes}
    return found | {"proxy": ("{{proxy}}", stage.routes)}


def node(name: str) -> str:
    return name.replace("-", "_")


def edge(one: str, other: str, label: str = "") -> str:
    said = f'|"{label}"|' if label else ""
    return f"  {node(one)} -->{said} {node(other)}"


def routes(stage: Stage) -> Iterator[tuple[str, str]]:
    """The path of each route, in a readable form, and the process behind it."""
    for line in stage.route_lines():
        pattern, to = line.split()
        path = pattern.removeprefix("^").removesuffix("$").replace("(/|$)", "").replace("[^/]+", "…")
        yield ("all else" if path == "/" else path), to


def calls(process: Process) -> Iterator[tuple[str, str]]:
    """Each neighbour that the process calls, by the name of its Service, and the label of the call."""
    urls = {name: process.environ.get(name, "local:") for name in LABELS}
    apps = process.environ.get("SERVED_APPS", "").split(",")
    called = {name for app in apps for name in neighbour_settings(app) or ()}
    for name, label in LABELS.items():
        scheme, _, address = urls[name].partition("://")
        # A process that serves no apps has only the URLs of the neighbours that it calls.
        if scheme != "local:" and (name in called or apps == [""]):
            yield address.partition(":")[0], f"{label} · {scheme}"
    if any(watched_groups(app, urls) for app in apps):
        yield BROKER, "lag · kafka"


# --- the step ------------------------------------------------------------------------------------


def step(stage: Stage, before: Stage | None) -> str:
    """The changes of apps, neighbours' URLs and routes; all of them for the first stage."""
    if before is None:
        return "\n".join(["```", *essence(stage), "```"])
    lines = difflib.unified_diff(essence(before), essence(stage), before.name, stage.name, lineterm="", n=0)
    return "\n".join(["```diff", *(line for line in lines if not line.startswith("@@")), "```"])


def essence(stage: Stage) -> list[str]:
    lines = []
    wiring: dict[str, str] = {}  # no process has all of it
    for process in stage.processes:
        served = process.environ.get("SERVED_APPS")
        lines.append(f"{process.name}: {'serves ' + served if served else ' '.join(process.command)}")
        wiring |= {setting: process.environ[setting] for setting in LABELS if setting in process.environ}
    lines += [f"{setting}={wiring.get(setting, 'local:')}" for setting in LABELS]
    return lines + stage.route_lines()


# --- what each step needed -----------------------------------------------------------------------


def table(instance: Instance, stages: Sequence[Stage]) -> str:
    """For each step the lines of its directory, and its processes: new, changed, removed and as before."""
    rows = [
        "| step to | lines | new | changed | removed | as before |",
        "| --- | ---: | --- | --- | --- | ---: |",
    ]
    for before, after in pairwise(stages):
        old, new = nodes(before), nodes(after)
        same = [name for name in new if old.get(name) == new[name]]
        changed = [name for name in new if name in old and name not in same]
        groups = [[*new.keys() - old.keys()], changed, [*old.keys() - new.keys()]]
        cells = [", ".join(sorted(names)) or "-" for names in groups]
        rows.append(f"| {after.name} | {lines(instance, after)} | {' | '.join(cells)} | {len(same)} |")
    return "\n".join(rows)


def lines(instance: Instance, stage: Stage) -> int:
    files = (instance.checkout / "k8s" / stage.name).iterdir()
    return sum(len(file.read_text().splitlines()) for file in files)
