"""Views call the use cases, which check authorisation, bounds and quotas, never the functions behind them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
APPS = [
    "access",
    "connect",
    "connections",
    "consumers",
    "encounters",
    "grpc_server",
    "locations",
    "persons",
    "phones",
    "privacy",
    "simulation",
    "venue",
    "webapp",
    "webhooks",
]
VERBS = {
    "submit",
    "get",
    "list_between",
    "connections",
    "encounters",
    "days",
    "positions",
    "heat",
    "visits",
    "newest",
    "record",
    "record_prepared",
}
BEHIND_THE_SEAM = {"storage", "proximity", "presence", "columns"}

# Modules that may call the seam's pings() and locations() or the functions behind them, and why.
ALLOWED = {
    "locations/services.py": "the use cases",
    "connections/services.py": "the use cases",
    "venue/services.py": "the use cases",
    "encounters/backfill.py": "a command of the operator",
    "encounters/finder.py": "a process that stores everybody's encounters; only staff ask about them",
    "locations/internal.py": "the verbs for other processes of Connect; the path takes service tokens only",
    "locations/storage.py": "the verbs themselves",
    "locations/admin.py": "the admin site, for staff; the admin checks their permissions",
    "locations/management/commands/import_locations.py": "a command of the operator",
    "simulation/management/commands/simulate.py": "a command of the operator",
    "simulation/live.py": "a command of the operator",
    "privacy/archive.py": "the use case of an export",
    "consumers/replay.py": "stores pings that a use case took before",
    "consumers/batch_store.py": "stores pings that a use case took before",
}


def modules() -> Iterator[Path]:
    for app in APPS:
        for path in sorted((ROOT / app).rglob("*.py")):
            if not {"tests", "migrations"} & set(path.parts):
                yield path


def bypasses(code: ast.AST) -> Iterator[str]:
    """Uses of the seam's pings() and locations(), and imports of the functions behind it."""
    for node in ast.walk(code):
        match node:
            case ast.Attribute(value=ast.Name(id="neighbours"), attr="pings" | "locations" | "ping_columns"):
                yield f"neighbours.{node.attr}"
            case ast.ImportFrom(module="connect.neighbours" | "connect" as module):
                yield from (
                    f"{module}.{name.name}"
                    for name in node.names
                    if name.name in ("pings", "locations", "ping_columns")
                )
            case ast.ImportFrom(module=module) if module in {f"locations.{each}" for each in BEHIND_THE_SEAM}:
                yield from (f"{module}.{name.name}" for name in node.names if name.name in VERBS)
            case ast.ImportFrom(module="locations"):
                yield from (f"locations.{name.name}" for name in node.names if name.name in BEHIND_THE_SEAM)
            case ast.Import():
                yield from (
                    name.name
                    for name in node.names
                    if name.name in {"connect.neighbours", *(f"locations.{each}" for each in BEHIND_THE_SEAM)}
                )


def test_only_use_cases_call_the_seam_for_pings_and_locations() -> None:
    found = {
        str(path.relative_to(ROOT)): names
        for path in modules()
        if (names := sorted(set(bypasses(ast.parse(path.read_text())))))
    }
    assert found.keys() - ALLOWED.keys() == set(), "Call locations.services or connections.services instead."
    assert ALLOWED.keys() - found.keys() == set(), "These exceptions are unused."


@pytest.mark.parametrize(
    "line",
    [
        "neighbours.pings().submit([])",
        "ask = neighbours.locations",
        "neighbours.ping_columns().read(start=0, end=1)",
        "from connect.neighbours import pings as alias",
        "from locations.storage import record",
        "from locations.presence import visits",
        "from locations import storage",
        "import locations.proximity",
    ],
)
def test_a_bypass_is_detected(line: str) -> None:
    assert list(bypasses(ast.parse(line)))
