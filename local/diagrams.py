"""`make diagrams`: docs/diagrams.md, three pictures of the code made from the code.

Which module imports which, the layers those imports make, and the entities with what binds them.
"""

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import django
import grimp

PACKAGES = (
    "connect",
    "persons",
    "locations",
    "connections",
    "grpc_server",
    "consumers",
    "privacy",
    "simulation",
    "webapp",
)
LEFT_OUT = {"tests", "migrations", "apps", "management"}
TARGET = Path(__file__).resolve().parent.parent / "docs" / "diagrams.md"

HEAD = """# The code, drawn from the code

Made by `make diagrams`; a test fails when it drifts. Everything runs in one process here, the monolith.
"""


def imports() -> dict[str, set[str]]:
    """For each module of the project, the modules of the project that it imports."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    shown = {module for module in graph.modules if not LEFT_OUT & set(module.split("."))}
    return {
        module: graph.find_modules_directly_imported_by(module) & shown - {module} for module in sorted(shown)
    }


def modules_diagram(graph: dict[str, set[str]]) -> str:
    lines = ["flowchart LR"]
    used = {module for module, targets in graph.items() if targets} | set().union(*graph.values())
    for package in PACKAGES:
        members = [module for module in graph if module in used and module.split(".")[0] == package]
        lines.append(f"  subgraph {package}")
        lines += [f"    {_node(module)}[{module.partition('.')[2] or package}]" for module in members]
        lines.append("  end")
    for module, targets in graph.items():
        lines += [f"  {_node(module)} --> {_node(target)}" for target in sorted(targets)]
    return _fenced(lines)


def layers_diagram(graph: dict[str, set[str]]) -> str:
    """Apps by how far they stand from the ground: each only imports what is drawn below it.

    Dotted: the seam, which picks its neighbours by URL and so is no import.
    """
    apps: dict[str, set[str]] = defaultdict(set)
    for module, targets in graph.items():
        part = _part(module)
        apps[part] |= {_part(target) for target in targets} - {part}
    lines = ["flowchart TB"]
    lines += [f"  {_node(part)}[{part}]" for part in sorted(apps)]
    lines += [
        f"  {_node(part)} --> {_node(target)}" for part in sorted(apps) for target in sorted(apps[part])
    ]
    for neighbour in ("persons", "locations"):
        lines.append(f"  connect_neighbours -. {neighbour.upper()}_URL .-> {neighbour}")
    lines.append("  connect_neighbours -. PINGS_URL .-> consumers")
    return _fenced(lines)


def entities_diagram() -> str:
    """Tables, columns and keys as the models have them; Connect's own apps only."""
    from django.apps import apps  # noqa: PLC0415 - the settings come first

    lines = ["erDiagram"]
    for label in ("persons", "locations", "consumers", "privacy"):
        for model in apps.get_app_config(label).get_models():
            lines.append(f"  {model.__name__.upper()} {{")
            key = set(getattr(model._meta.pk, "field_names", None) or [model._meta.pk.name])
            for field in model._meta.concrete_fields:
                kind = field.get_internal_type().removesuffix("Field")
                lines.append(f"    {kind} {field.name}{' PK' if field.name in key else ''}")
            lines.append("  }")
    lines.append('  PERSON ||--o{ LOCATION : "person_id: no foreign key; a trigger deletes"')
    lines.append('  PERSON |o--o{ REJECTEDPING : "person_id: the same"')
    lines.append('  PERSON |o--o{ ERASURERECEIPT : "person_id of who is gone; a trigger writes it"')
    return _fenced(lines)


def render() -> str:
    graph = imports()
    parts = [
        HEAD,
        "## Which module imports which\n",
        modules_diagram(graph),
        "## The layers\n",
        f"{' '.join((layers_diagram.__doc__ or '').split())}\n",
        layers_diagram(graph),
        "## The entities\n",
        entities_diagram(),
        "A connection and an encounter are answers, not entities: nothing of them is stored.\n",
    ]
    return "\n".join(parts)


def _part(module: str) -> str:
    """An app as a whole; of `connect`, the seam and the list of paths stand apart from what all share."""
    if module in ("connect.neighbours", "connect.urls", "connect.api_urls"):
        return module.replace("api_urls", "urls")
    return module.split(".", maxsplit=1)[0]


def _node(name: str) -> str:
    return name.replace(".", "_")


def _fenced(lines: Iterable[str]) -> str:
    return "\n".join(["```mermaid", *lines, "```", ""])


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "connect.settings")
    django.setup()
    TARGET.write_text(render())
