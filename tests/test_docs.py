"""Each example of the documents is run against a real system, and answers as it is shown there."""

import contextlib
import io
import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from local import kafka
from local.instance import CHECKOUT
from tests.system import STAGES, System

DOCS = CHECKOUT / "docs"
BLOCK = re.compile(r"^```(console|python|json|text)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
ANSWERS = ("json", "text")

at_the_last_stage = pytest.mark.parametrize("stage", STAGES[-1:], indirect=True)


@dataclass(frozen=True)
class Block:
    """`line` is the one in its document after which the text begins."""

    kind: str
    text: str
    line: int


def blocks(document: str) -> list[Block]:
    text = (DOCS / document).read_text()
    return [Block(one[1], one[2], text.count("\n", 0, one.start(2))) for one in BLOCK.finditer(text)]


class Reader:
    """Types the examples of a document in one shell and one Python; `here` says what is elsewhere here."""

    def __init__(self, system: System, here: Mapping[str, str]) -> None:
        self.system = system
        self.here = {f"127.0.0.1:{port}": f"127.0.0.1:{system.port(port)}" for port in range(30000, 30004)}
        self.here |= here
        self.names: dict[str, Any] = {}
        self.shell = ["set -euo pipefail"]

    def type(self, block: Block) -> str:
        """What it prints. Every ping that was taken before is stored by then."""
        self.system.settle()
        text = block.text
        for there, here in self.here.items():
            text = text.replace(there, here)
        if block.kind == "console":
            return self.console(text)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            # After as many empty lines as the document has before it, so that an error tells the line.
            exec(compile("\n" * block.line + text, "<document>", "exec"), self.names)  # noqa: S102 - our own
        return printed.getvalue()

    def console(self, text: str) -> str:
        if re.fullmatch(r"([A-Z]+=\S+\s*)+", text):
            self.shell.append(text)
            return ""
        done = subprocess.run(
            ["bash", "-c", "\n".join([*self.shell, text])],
            cwd=CHECKOUT,
            env=self.system.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{text}{done.stdout}{done.stderr}"
        return done.stdout


@at_the_last_stage
def test_what_is_shown_to_users_is_what_is_answered(fresh: System) -> None:
    fresh.empty(restart_ids=True)  # the document shows them
    reader = Reader(fresh, {})
    for block, following in pairwise([*blocks("use.md"), Block("", "", 0)]):
        if block.kind in ANSWERS:
            continue
        printed = reader.type(block)
        if following.kind == "json":
            assert json.loads(printed) == json.loads(following.text), f"line {following.line}"
        elif following.kind == "text":
            assert printed.split() == following.text.split(), f"line {following.line}"
        else:
            assert not printed, f"line {block.line}: what it prints is not shown"


@at_the_last_stage
def test_operators_can_restore_what_they_have_backed_up(fresh: System, tmp_path: Path) -> None:
    here = {
        ".local/": f"{fresh.instance.state}/",
        "connect.dump": str(tmp_path / "connect.dump"),
        "kafka://127.0.0.1:29092": kafka.private_broker(fresh.instance, running=True).url,
        "after-the-restore": tmp_path.name,
    }
    reader = Reader(fresh, here)
    [ready, is_ready] = [one for one in blocks("run.md") if "health" in one.text or one.kind == "json"]
    backup, restore, read_again = [
        one
        for one in blocks("run.md")
        if re.search("^pg_dump|^pg_restore|^PINGS_URL", one.text, re.MULTILINE)
    ]
    assert json.loads(reader.type(ready)) == json.loads(is_ready.text)

    def make(first_name: str) -> int:
        names = {"first_name": first_name, "last_name": "Lee", "company_name": "Acme"}
        return int(fresh.ask("POST", "/api/persons", json=names).json()["id"])

    def send(person_id: int, time: str) -> None:
        ping = {"person_id": person_id, "latitude": 1, "longitude": 2, "creation_time": f"{time}T10:00:00Z"}
        assert fresh.ask("POST", "/api/locations", json=ping).status_code == 202

    def seen(person_id: int) -> list[str]:
        fresh.settle()
        return [
            one["creation_time"][:10] for one in fresh.get(f"/api/locations?person_id={person_id}").json()
        ]

    ann, bo = make("Ann"), make("Bo")
    send(ann, "2026-05-11")
    send(bo, "2026-05-11")
    reader.type(backup)
    late = make("Late")
    send(ann, "2026-07-01")  # in a month that the backup does not know
    send(late, "2026-07-01")
    assert fresh.ask("DELETE", f"/api/persons/{bo}").status_code == 204
    assert (seen(ann), seen(bo), seen(late)) == (["2026-05-11", "2026-07-01"], [], ["2026-07-01"])

    reader.type(restore)
    assert (seen(ann), seen(bo)) == (["2026-05-11"], ["2026-05-11"])
    assert fresh.get(f"/api/persons/{late}").status_code == 404
    assert make("New") > late
    assert "Everything is written." in reader.type(read_again)
    # (The topic also has what other tests sent, and in tests ids are given again.)
    assert "2026-07-01" in seen(ann)
    assert seen(late) == []


@at_the_last_stage
def test_operators_hide_hand_out_and_forget_a_person_and_what_is_too_old(
    fresh: System, tmp_path: Path
) -> None:
    names = {"first_name": "Ann", "last_name": "Lee", "company_name": "Acme"}
    ann = fresh.ask("POST", "/api/persons", json=names).json()["id"]
    for time in ("2021-05-11T10:00:00Z", datetime.now(UTC).isoformat()):
        ping = {"person_id": ann, "latitude": 1, "longitude": 2, "creation_time": time}
        assert fresh.ask("POST", "/api/locations", json=ping).status_code == 202
    here = {"/5/": f"/{ann}/", "person-5.zip": str(tmp_path / "person-5.zip"), "_person 5": f"_person {ann}"}
    reader = Reader(fresh, here)
    console = [one for one in blocks("run.md") if one.kind == "console"]
    [drop] = [one for one in console if "drop_old_locations --dry-run" in one.text]
    [decide] = [one for one in console if "export_person 5" in one.text]

    said = reader.type(drop)
    assert "locations_location_2021_05: 1 pings would be dropped" in said
    assert "locations_location_2021_05: 1 pings dropped" in said
    hidden, receipt = re.fullmatch(r"(\{.*?\}).*?(\{.*\})\s*", reader.type(decide), re.DOTALL).groups()  # type: ignore[union-attr]
    assert json.loads(hidden) == {"findable": False}
    assert (tmp_path / "person-5.zip").stat().st_size > 500
    assert json.loads(receipt)["pings"] == 1
    assert fresh.get(f"/api/persons/{ann}").status_code == 404


@pytest.mark.parametrize(
    "document",
    ["run.md", "use.md", "change.md", "understand.md", "privacy.md", "security.md", "encounters.md"],
)
def test_links_lead_somewhere(document: str) -> None:
    paths = LINK.findall((DOCS / document).read_text())
    assert not [path for path in paths if not (DOCS / path).exists()]
