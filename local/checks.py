"""`make lint`, and the throw-away database and broker of `make test` and `make bench`."""

import os
import signal
import subprocess
import tomllib

from local.instance import VENV, Instance, say
from local.kafka import throwaway_broker
from local.postgis import throwaway_cluster

BIN = VENV / "bin"
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
    """The tests of apps with two workers, then the tests of whole systems with the machine to themselves."""
    apps = ["-n", "2", *test_paths(instance, without={"tests"})]
    return max(on_throwaway(instance, ["pytest", *each]) for each in (apps, ["tests"]))


def fast_tests(instance: Instance, arguments: list[str]) -> int:
    """The tests of apps that start no process and no browser."""
    paths = test_paths(instance, without={"tests", "local"})
    return on_throwaway(instance, ["pytest", "-q", "-n", "2", "-m", "not processes", *paths, *arguments])


def test_paths(instance: Instance, without: set[str]) -> list[str]:
    with (instance.checkout / "pyproject.toml").open("rb") as file:
        found = tomllib.load(file)["tool"]["pytest"]["ini_options"]["testpaths"]
    return [path for path in found if path not in without]


def on_throwaway(instance: Instance, module: list[str], *, durable: bool = False) -> int:
    """Runs `python -m module` with its own cluster and broker; returns its exit status.

    TEST_KAFKA_URL is not a setting, so only tests that ask for the broker use it.
    """
    with throwaway_cluster(durable=durable) as cluster, throwaway_broker() as broker:
        environ = os.environ | {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "DATABASE_URL": cluster.url,
            "TEST_KAFKA_URL": broker.url,
            "SECRET_KEY": "for-tests-only",
            "ACCESS": "open",  # tests of access set it themselves
            "SERVICE_TOKEN": "",  # not those of a system of this checkout
            "SERVICE_TOKENS": "",
            "QUOTA_FILE": ":memory:",  # each process has its own
        }
        # Web processes of the tests serve static files, which must be collected to have hashed names.
        collect = [str(BIN / "python"), "manage.py", "collectstatic", "--noinput", "--verbosity", "0"]
        subprocess.run(collect, cwd=instance.checkout, env=environ, check=True)
        process = subprocess.Popen([BIN / "python", "-m", *module], cwd=instance.checkout, env=environ)
        try:
            return process.wait()
        except KeyboardInterrupt:
            return process.wait()  # it got Ctrl-C, too
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)  # after SIGTERM pytest would leave its systems running
                process.wait(60)
