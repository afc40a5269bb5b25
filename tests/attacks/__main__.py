"""`make attack`: every attack on a system of its own, and a table of what the clients saw.

It writes the table into docs/security.md. ARGS="--seconds 60 --only NAME" takes longer or one attack;
ARGS="--all-at-once --seconds 1800" runs all attacks together and samples the footprint once a minute.
"""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from local.instance import CHECKOUT
from tests.attacks.attacks import ATTACKS
from tests.attacks.filling import prepare
from tests.attacks.trial import KINDS, Result, Seen, Trial
from tests.system import a_system

TARGET = CHECKOUT / "docs" / "security.md"
SLICE_S = 60  # of an attack by all at once: what each row of its table covers
HEAD = (
    "| attack | calls | succeed | p99 of pings, quiet / during | p99 of questions, quiet / during "
    "| succeed afterwards | memory | temporary files | threads | restarts |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


def options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make attack")
    parser.add_argument("--seconds", type=int, default=30, help="of each attack (default: %(default)s)")
    parser.add_argument(
        "--phones", type=int, default=50, help="that send once a second (default: %(default)s)"
    )
    parser.add_argument(
        "--only", choices=ATTACKS, nargs="+", metavar="NAME", help="of: " + ", ".join(ATTACKS)
    )
    parser.add_argument("--all-at-once", action="store_true", help="one run under all attacks together")
    parser.add_argument("--table", default="attacks", help="the markers in docs/security.md to write between")
    return parser.parse_args(arguments)


def row(name: str, result: Result) -> str:
    restarts = len(result.before.pids - result.end.pids)
    cells = [name, len(result.during.calls), percent(result.during)]
    cells += [f"{ms(result.quiet.p99_s(group))} / {ms(result.during.p99_s(group))}" for group in KINDS]
    cells += [percent(result.after), f"{result.before.memory_mb:.0f} to {result.peak.memory_mb:.0f} MB"]
    cells += [
        f"{result.peak.temporary_mb:.0f} MB",
        f"{result.before.threads} to {result.peak.threads}",
        restarts,
    ]
    return f"| {' | '.join(map(str, cells))} |"


def percent(seen: Seen) -> str:
    return f"{seen.success:.1%}" if seen.success < 0.999 else f"{seen.success:.2%}"


def ms(seconds: float) -> str:
    return "-" if seconds == float("inf") else f"{seconds * 1000:.0f} ms"


def write(marker: str, text: str) -> None:
    begin, end = f"<!-- {marker}: begin -->", f"<!-- {marker}: end -->"
    before, _, rest = TARGET.read_text().partition(begin)
    TARGET.write_text(f"{before}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}")


def one_by_one(trial: Trial, names: list[str]) -> tuple[list[str], int]:
    rows, failed = [], 0
    for name in names:
        if rows:
            trial.look()
        result = trial.under(name)
        rows.append(row(ATTACKS[name].what, result))
        print(rows[-1], flush=True)
        for failure in result.failures():
            print(f"    {name}: {failure}", flush=True)
        failed += bool(result.failures())
        if result.after.success < 1:
            trial.restart()
    return rows, failed


def all_at_once(trial: Trial, names: list[str], seconds: int) -> tuple[list[str], int]:
    """As many rows as minutes, all under the same attacks."""
    rows, failed = [], 0
    for minute, result in enumerate(trial.together(names, slices=max(1, seconds // SLICE_S))):
        rows.append(row(f"all at once, minute {minute + 1}", result))
        print(rows[-1], *result.failures(), sep="\n    ", flush=True)
        failed += bool(result.failures())
    return rows, failed


def main(arguments: list[str]) -> int:
    chosen = options(arguments)
    names = chosen.only or list(ATTACKS)
    with tempfile.TemporaryDirectory() as folder, a_system(Path(folder), access="tokens") as system:
        target = prepare(system, phones=chosen.phones)
        trial = Trial(system, target, seconds=SLICE_S if chosen.all_at_once else chosen.seconds)
        if chosen.all_at_once:
            rows, failed = all_at_once(trial, names, chosen.seconds)
        else:
            rows, failed = one_by_one(trial, names)
    marker = "attacks-at-once" if chosen.all_at_once else chosen.table
    if not chosen.only:
        write(marker, "\n".join([HEAD, *rows]))
    return 1 if failed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the system is stopped
    sys.exit(main(sys.argv[1:]))
