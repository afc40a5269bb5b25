"""`make lint`, and the throw-away database and broker of `make test` and `make bench`."""

import os
import signal
import subprocess
import tomllib
from collections.abc import Mapping

from local.instance import VENV, Instance, say
from local.kafka import running, throwaway_storage
from local.postgis import throwaway_cluster
from local.seed import collect_static

BIN = VENV / "bin"
# One more than the two processors of a small machine: tests wait for processes half of their time.
WORKERS = "3"
LINTERS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("lint-imports",),
    ("python", "manage.py", "makemigrations", "--check", "--dry-run"),
)


def lint(instance: Instance) -> int:
    """Runs all checks, also after one has failed. Returns 0 if none has."""
    failed = []
    environ = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    for command in LINTERS:
        say(f"$ {' '.join(command)}")
        line = [BIN / command[0], *command[1:]]
        if subprocess.run(line, cwd=instance.checkout, env=environ, check=False).returncode:
            failed.append(" ".join(command))
    say(f"Failed: {'; '.join(failed)}" if failed else "All checks passed.")
    return 1 if failed else 0


def every_test(instance: Instance) -> int:
    """The tests of apps, then those of whole systems; ends after the part that fails first."""
    apps = test_paths(instance, "tests")
    return on_throwaway(instance, ["pytest", "-n", WORKERS, *apps], ["pytest", "-n", WORKERS, "tests"])


def fast_tests(instance: Instance, arguments: list[str]) -> int:
    """The tests of apps that start no process and no browser."""
    paths = test_paths(instance, "tests", "local")
    return on_throwaway(instance, ["pytest", "-q", "-n", "2", "-m", "not processes", *paths, *arguments])


def test_paths(instance: Instance, *without: str) -> list[str]:
    project = tomllib.loads((instance.checkout / "pyproject.toml").read_text())
    return [path for path in project["tool"]["pytest"]["ini_options"]["testpaths"] if path not in without]


def on_throwaway(instance: Instance, *modules: list[str], durable: bool = False) -> int:
    """Runs each `python -m module` with one own cluster and broker, until one fails; returns its exit status.

    TEST_KAFKA_URL is not a setting, so only tests that ask for the broker use it.
    """
    with throwaway_cluster(durable=durable) as cluster, throwaway_storage() as broker, running(broker):
        environ = os.environ | {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "DATABASE_URL": cluster.url,
            "CONNECT_STATE_DIR": str(cluster.home),  # not the settings of a system of this checkout
            "TEST_KAFKA_URL": broker.url,
            "SECRET_KEY": "for-tests-only",
            "ACCESS": "open",  # tests of access set it themselves
            "SERVICE_TOKEN": "",  # not those of a system of this checkout
            "SERVICE_TOKENS": "",
            "QUOTA_FILE": ":memory:",  # each process has its own
        }
        # Web processes of the tests serve static files, which must be collected to have hashed names.
        instance.make()
        collect_static(instance, environ)
        for module in modules:
            if status := run_module(instance, module, environ):
                return status
        return 0


def run_module(instance: Instance, module: list[str], environ: Mapping[str, str]) -> int:
    process = subprocess.Popen([BIN / "python", "-m", *module], cwd=instance.checkout, env=environ)
    try:
        return process.wait()
    except KeyboardInterrupt:
        return process.wait()  # it got Ctrl-C, too
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)  # after SIGTERM pytest would leave its systems running
            process.wait(60)
