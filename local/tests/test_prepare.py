"""What is installed on the machine: only what is missing, by one line that can be read before it is run."""

import re
import shlex
import subprocess
from importlib.metadata import distribution

import pytest
from packaging.markers import Environment, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from local import prepare
from local.instance import CHECKOUT

CLOSURES = ["requirements.txt", *prepare.REQUIREMENTS.values()]


def pinned(closure: str) -> dict[str, str]:
    """Each package's line with its hashes."""
    lines = (CHECKOUT / closure).read_text().replace("\\\n", "").splitlines()
    return {line.partition("==")[0]: line for line in lines if line and line.strip()[0] != "#"}


def elsewhere(version: str, machine: str) -> Environment:
    there = {"python_version": version, "python_full_version": f"{version}.1", "platform_machine": machine}
    return default_environment() | there  # type: ignore[return-value]


def test_the_line_for_root_is_shell_and_is_shown_as_it_is_run() -> None:
    script = prepare.install_script(["postgresql-postgis", "haproxy", "python3-venv"])
    assert "\n" not in script
    assert shlex.split(prepare.shown(script)) == ["sudo", "sh", "-c", script]
    subprocess.run(["sh", "-n", "-c", script], check=True)


def test_postgresql_makes_no_system_cluster_and_haproxy_no_system_service() -> None:
    script = prepare.install_script(["postgresql-postgis", "haproxy"])
    assert script.index("create_main_cluster=false") < script.index("apt-get install")
    assert "systemctl disable --now haproxy" in script
    other = prepare.install_script(["python3-venv"])
    assert "create_main_cluster" not in other
    assert "haproxy" not in other


def test_nothing_is_missing_where_the_tests_run() -> None:
    assert prepare.missing_packages("dev") == {}


@pytest.mark.parametrize("closure", CLOSURES)
def test_what_is_installed_is_pinned_by_hash_and_names_no_place_that_it_comes_from(closure: str) -> None:
    asked_for = (CHECKOUT / closure).with_suffix(".in").read_text().splitlines()
    wanted = [line.split("==") for line in asked_for if "==" in line]

    assert all("--hash=sha256:" in line for line in pinned(closure).values())
    assert not re.search(
        r"https?:|--(index|extra-index|find-links|trusted)", (CHECKOUT / closure).read_text()
    )
    for name, version in wanted:
        assert pinned(closure)[canonicalize_name(name)].startswith(f"{canonicalize_name(name)}=={version} ")


@pytest.mark.parametrize("closure", CLOSURES)
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_nothing_is_missing_on_another_python_or_machine(closure: str, version: str, machine: str) -> None:
    found = pinned(closure)
    needed = {
        canonicalize_name(requirement.name)
        for name in found
        for requirement in map(Requirement, distribution(name).requires or ())
        if requirement.marker is None
        or requirement.marker.evaluate({"extra": "", **elsewhere(version, machine)})
    }
    assert needed <= set(found)
