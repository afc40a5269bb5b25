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


# By name: the function that returns the command's exit status. `make help` describes them.
COMMANDS: dict[str, Callable[[Instance, list[str]], int]] = {
    "up": up,
    "down": down,
    "status": lambda instance, _: report.status(instance),
    "logs": lambda instance, _: report.logs(instance),
    "stage": lambda instance, _: report.stage(instance),
    "diff": lambda instance, some: rendering.diff(instance, *some[:1]),
    "render": lambda instance, _: rendering.render(instance),
    "lint": lambda instance, _: checks.lint(instance),
    "test": test,
    "test-fast": checks.fast_tests,
    "bench": lambda instance, some: checks.on_throwaway(instance, ["bench", *some], durable=True),
    "attack": lambda instance, some: checks.on_throwaway(instance, ["tests.attacks", *some]),
    "fuzz": lambda instance, some: checks.on_throwaway(instance, ["tests.fuzz", *some]),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    environ.Env.read_env(CHECKOUT / ".env")
    return COMMANDS[options.command](Instance.from_environment(), options.arguments)


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
