"""The commands behind the Makefile: `python -m local COMMAND [ARGUMENTS]`."""

import argparse
import signal
import sys
from collections.abc import Callable
from types import FrameType

from local import checks, rendering, report, runner
from local.instance import Instance, Refused, complain, say


def up(instance: Instance, arguments: list[str]) -> int:
    """bring the whole system to a stage (name or number; the last one if left out)"""
    runner.up(instance, arguments[0] if arguments else None)
    report.addresses(instance)
    return 0


def down(instance: Instance, _arguments: list[str]) -> int:
    """stop everything; the data stays"""
    say("Stopped." if runner.down(instance) else "Nothing was running.")
    return 0


def status(instance: Instance, _arguments: list[str]) -> int:
    """what runs and whether it is ready"""
    return report.status(instance)


def logs(instance: Instance, _arguments: list[str]) -> int:
    """the last lines of all logs; follows them on a terminal"""
    return report.logs(instance)


def stage(instance: Instance, _arguments: list[str]) -> int:
    """the name of the stage that runs"""
    return report.stage(instance)


def diff(instance: Instance, arguments: list[str]) -> int:
    """what a stage changes, as rendered"""
    rendering.diff(instance, arguments[0] if arguments else None)
    return 0


def render(instance: Instance, _arguments: list[str]) -> int:
    """write the renderings of k8s/ anew, and what docs/migration.md shows of them"""
    rendering.render(instance)
    return 0


def lint(instance: Instance, _arguments: list[str]) -> int:
    """every check that runs no code of the project"""
    return checks.lint(instance)


def test(instance: Instance, arguments: list[str]) -> int:
    """run the tests on a throw-away database; the arguments are pytest's"""
    if arguments:
        return checks.on_throwaway(instance, ["pytest", *arguments])
    return checks.every_test(instance)


def test_fast(instance: Instance, arguments: list[str]) -> int:
    """run the tests of apps that start no process; the arguments are pytest's"""
    return checks.fast_tests(instance, arguments)


def bench(instance: Instance, arguments: list[str]) -> int:
    """measure on a throw-away database; --help says more"""
    return checks.on_throwaway(instance, ["bench", *arguments], durable=True)


def attack(instance: Instance, arguments: list[str]) -> int:
    """attack a system of its own while clients use it; --help says more"""
    return checks.on_throwaway(instance, ["tests.attacks", *arguments])


def fuzz(instance: Instance, arguments: list[str]) -> int:
    """send a system of its own what no client should; --help says more"""
    return checks.on_throwaway(instance, ["tests.fuzz", *arguments])


COMMANDS: dict[str, Callable[[Instance, list[str]], int]] = {
    one.__name__.replace("_", "-"): one
    for one in (up, down, status, logs, stage, diff, render, lint, test, test_fast, bench, attack, fuzz)
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m local",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(f"{name:<8} {command.__doc__}" for name, command in COMMANDS.items()),
    )
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    return COMMANDS[options.command](Instance.from_environment(), options.arguments)


def end(number: int, _frame: FrameType | None) -> None:
    """Lets `finally` have its say when somebody ends the command."""
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, end)
    try:
        sys.exit(main(sys.argv[1:]))
    except Refused as refused:
        complain(str(refused))
        sys.exit(1)
    except KeyboardInterrupt:
        complain("Interrupted. The next make completes what this one began.")
        sys.exit(130)
