"""The commands behind the Makefile: `python -m local up|down|status|logs|stage|diff|render|lint|test|bench`."""

import argparse
import signal
import sys
from types import FrameType

from local import checks, rendering, report, runner
from local.place import Place, Refused, complain, say


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="bring the whole system to a stage, from nothing or from another one")
    up.add_argument("stage", nargs="?", help="name or number; the last one if left out")
    commands.add_parser("down", help="stop everything; the data stays")
    commands.add_parser("status", help="what runs and whether it is ready")
    commands.add_parser("logs", help="the last lines of all logs; follows them on a terminal")
    commands.add_parser("stage", help="the name of the stage that runs")
    diff = commands.add_parser("diff", help="what a stage changes, as rendered")
    diff.add_argument("stage", nargs="?")
    commands.add_parser("render", help="write the renderings of k8s/ anew")
    commands.add_parser("lint", help="every check that runs no code of the project")
    test = commands.add_parser("test", help="run the tests on a throw-away database")
    test.add_argument("arguments", nargs=argparse.REMAINDER, help="for pytest")
    bench = commands.add_parser("bench", help="measure on a throw-away database")
    bench.add_argument("arguments", nargs=argparse.REMAINDER, help="the number of people, 1000 if left out")
    options = parser.parse_args(arguments)
    place = Place.from_environment()
    match options.command:
        case "up":
            runner.up(place, options.stage)
            report.addresses(place)
        case "down":
            say("Stopped." if runner.down(place) else "Nothing was running.")
        case "status":
            return report.status(place)
        case "logs":
            return report.logs(place)
        case "stage":
            return report.stage(place)
        case "diff":
            rendering.diff(place, options.stage)
        case "render":
            rendering.render(place)
        case "lint":
            return checks.lint(place)
        case "test":
            return checks.on_throwaway(place, ["pytest", *options.arguments])
        case "bench":
            return checks.on_throwaway(place, ["bench.question", *options.arguments])
    return 0


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
