"""The generated blocks of docs/migration.md: a drawing, the step and the sizes of each stage."""

import difflib
import re
from collections import defaultdict
from collections.abc import Iterator

from connect.neighbours import neighbour_settings, reads_lag
from local import manifests
from local.instance import Instance
from local.kafka import NAME as BROKER
from local.kafka import NO_PASSWORDS
from local.manifests import Process, Stage

TARGET = "docs/migration.md"
# Values for the Secrets, which renderings only refer to.
SECRETS = defaultdict(lambda: "-", DATABASE_URL="postgis:", **NO_PASSWORDS)
LABELS = {"PERSONS_URL": "who", "LOCATIONS_URL": "where", "PINGS_URL": "pings"}
BLOCK = re.compile(r"(<!-- (\S+): begin -->\n).*?(<!-- \2: end -->)", re.DOTALL)


def updated(instance: Instance, text: str) -> str:
    """The document with new blocks. Blocks with other names are kept."""
    names = manifests.stage_names(instance)
    blocks = {"sizes": sizes(instance, names)}
    before: Stage | None = None
    for name in names:
        stage = manifests.read_stage(instance, name, SECRETS)
        blocks[name] = f"{picture(stage, before)}\n\n{rewired(stage, before)}"
        before = stage

    def block(match: re.Match[str]) -> str:
        begin, name, end = match.groups()
        return f"{begin}\n{blocks[name]}\n\n{end}" if name in blocks else match[0]

    return BLOCK.sub(block, text)


def update(instance: Instance) -> None:
    path = instance.checkout / TARGET
    path.write_text(updated(instance, path.read_text()))


# --- the picture ---------------------------------------------------------------------------------


def picture(stage: Stage, before: Stage | None) -> str:
    """The processes and their calls. New and changed ones have a thick border."""
    processes = {one.name: one for one in stage.processes}
    lines = ["flowchart LR", "  clients([clients])", "  postgis[(postgis)]"]
    lines += [f"  {node(name)}[{name}]" for name in processes]
    if BROKER in stage.stateful:
        lines.append(f"  {BROKER}[({BROKER})]")
    if stage.routes is not None:
        lines.append("  proxy{{proxy}}")
    for service in stage.services:
        if service.node_port is not None:
            lines.append(edge("clients", service.process or "proxy", str(service.node_port)))
    for pattern, to in routes(stage):
        lines.append(edge("proxy", to, pattern))
    for process in stage.processes:
        for to, label in calls(process, stage):
            is_worker = process.ready_command is not None  # it reads from the broker
            lines.append(edge(to, process.name, label) if is_worker else edge(process.name, to, label))
        if process.environ.get("DATABASE_URL"):
            lines.append(edge(process.name, "postgis"))
    known = {one.name: one for one in before.processes} if before else {}
    new = [node(name) for name, process in processes.items() if known.get(name) != process]
    if stage.routes is not None and (before is None or before.routes != stage.routes):
        new.append("proxy")
    new += {*stage.stateful} - {*(before.stateful if before else ())}
    if before is not None and new:
        lines += ["  classDef new stroke-width:3px", f"  class {','.join(new)} new"]
    return "\n".join(["```mermaid", *lines, "```"])


def node(name: str) -> str:
    return name.replace("-", "_")


def edge(one: str, other: str, label: str = "") -> str:
    said = f'|"{label}"|' if label else ""
    return f"  {node(one)} -->{said} {node(other)}"


def routes(stage: Stage) -> Iterator[tuple[str, str]]:
    """The path of each route, in a readable form, and the process behind it."""
    for line in (stage.routes or "").splitlines():
        if line and not line.startswith("#"):
            pattern, to = line.split()
            path = pattern.removeprefix("^").removesuffix("$").replace("(/|$)", "").replace("[^/]+", "…")
            yield ("all else" if path == "/" else path), to


def calls(process: Process, stage: Stage) -> Iterator[tuple[str, str]]:
    """Each neighbour that the process calls, and the label of the call."""
    urls = {name: process.environ.get(name, "local:") for name in LABELS}
    apps = process.environ.get("SERVED_APPS", "").split(",")
    # A process that serves no apps has only the URLs of the neighbours that it calls.
    names = (
        [name for app in apps for name in (neighbour_settings(app) or ())] if apps != [""] else list(LABELS)
    )
    found: dict[tuple[str, str], list[str]] = {}
    for name in dict.fromkeys(names):
        scheme, _, address = urls[name].partition("://")
        if scheme != "local:":
            found.setdefault((answering(address, stage), scheme), []).append(LABELS[name])
    for (to, scheme), said in found.items():
        yield to, f"{', '.join(said)} · {scheme}"
    if any(reads_lag(app, urls) for app in apps):
        yield BROKER, "lag · kafka"


def answering(address: str, stage: Stage) -> str:
    """The process behind a Service's address."""
    host, _, port = address.partition(":")
    found = {(one.name, str(one.port)): one.process for one in stage.services}
    return found.get((host, port)) or host


# --- the step ------------------------------------------------------------------------------------


def rewired(stage: Stage, before: Stage | None) -> str:
    """The step as a difference of apps, neighbour URLs and routes."""
    old, new = (essence(one) if one else [] for one in (before, stage))
    if before is None:
        return "\n".join(["```", *new, "```"])
    lines = list(difflib.unified_diff(old, new, before.name, stage.name, lineterm="", n=0))
    return "\n".join(["```diff", *(line for line in lines if not line.startswith("@@")), "```"])


def essence(stage: Stage) -> list[str]:
    lines = []
    for process in stage.processes:
        served = process.environ.get("SERVED_APPS")
        lines.append(f"{process.name}: {'serves ' + served if served else ' '.join(process.command)}")
    wiring: dict[str, str] = {}  # no process has all of it
    for process in stage.processes:
        wiring |= {setting: process.environ[setting] for setting in LABELS if setting in process.environ}
    lines += [f"{setting}={wiring.get(setting, 'local:')}" for setting in LABELS]
    return lines + [line for line in (stage.routes or "").splitlines() if line and not line.startswith("#")]


# --- the sizes -----------------------------------------------------------------------------------


def sizes(instance: Instance, names: list[str]) -> str:
    rows = ["| stage | its own files | rendered | the step, rendered |", "| --- | --- | --- | --- |"]
    before: list[str] = []
    for name in names:
        own = [path for path in (instance.checkout / "k8s" / name).iterdir() if path.is_file()]
        written = sum(len(path.read_text().splitlines()) for path in own)
        lines = (instance.rendered / f"{name}.yaml").read_text().splitlines()
        objects = sum(line.startswith("kind:") for line in lines)
        changed = [line[0] for line in difflib.ndiff(before, lines) if line[0] in "+-"]
        step = f"+{changed.count('+')} -{changed.count('-')} lines"
        rows.append(
            f"| {name} | {len(own)} files, {written} lines | {objects} objects, {len(lines)} lines | {step} |"
        )
        before = lines
    return "\n".join(rows)
