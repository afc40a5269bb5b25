"""The commands behind the Makefile: `python -m local COMMAND [ARGUMENTS]`."""

import argparse
import signal
import sys
from collections.abc import Callable

import environ

from local import checks, rendering, report, runner
from local.instance import CHECKOUT, Instance, Refused, complain, say


def up(instance: Instance, arguments: list[str]) -> int:
    runner.up(instance, *arguments[:1])
    report.addresses(instance)
    return 0


def down(instance: Instance, _arguments: list[str]) -> int:
    say("Stopped." if runner.down(instance) else "Nothing was running.")
    return 0


def test(instance: Instance, arguments: list[str]) -> int:
    return checks.on_throwaway(instance, ["pytest", *arguments]) if arguments else checks.every_test(instance)


# By name: what the command does, and the function that returns its exit status.
COMMANDS: dict[str, tuple[str, Callable[[Instance, list[str]], int]]] = {
    "up": ("start the whole system, or move it to a stage (name or number; by default the last)", up),
    "down": ("stop everything; the data stays", down),
    "status": ("list the processes and whether each is ready", lambda one, _: report.status(one)),
    "logs": ("print the last lines of all logs; follow them on a terminal", lambda one, _: report.logs(one)),
    "stage": ("print the name of the current stage", lambda one, _: report.stage(one)),
    "diff": ("show what a stage changes in the renderings", lambda one, some: rendering.diff(one, *some[:1])),
    "render": ("render k8s/ and update docs/migration.md", lambda one, _: rendering.render(one)),
    "lint": ("run every check that runs no code of the project", lambda one, _: checks.lint(one)),
    "test": ("run the tests on a throw-away database and broker, with arguments of pytest", test),
    "test-fast": ("the same with the tests of apps that start no process", checks.fast_tests),
    "bench": (
        "run the benchmarks on a throw-away database; see --help",
        lambda one, some: checks.on_throwaway(one, ["bench", *some], durable=True),
    ),
    "attack": (
        "attack a separate system while clients use it; see --help",
        lambda one, some: checks.on_throwaway(one, ["tests.attacks", *some]),
    ),
    "fuzz": (
        "send invalid inputs to a separate system; see --help",
        lambda one, some: checks.on_throwaway(one, ["tests.fuzz", *some]),
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m local",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(f"{name:<9} {what}" for name, (what, _) in COMMANDS.items()),
    )
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    environ.Env.read_env(CHECKOUT / ".env")
    _, run = COMMANDS[options.command]
    return run(Instance.from_environment(), options.arguments)


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):  # so that `finally` runs
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    try:
        sys.exit(main())
    except Refused as refused:
        complain(str(refused))
        sys.exit(1)
    except KeyboardInterrupt:
        complain("Interrupted. The next make completes what this one began.")
        sys.exit(130)
