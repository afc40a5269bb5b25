"""Installs what is missing: Debian packages, the virtual environment, the broker's jars, newman.

The Makefile runs it with the system's own Python before a virtual environment exists:
`python3 -m local.prepare local` for running, `python3 -m local.prepare dev` for tests and checks.
"""

import ctypes.util
import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from local import jars, newman
from local.downloads import run
from local.instance import CHECKOUT, VENV, Refused, complain, locked, private_directory, say

OLDEST_POSTGRESQL = 15
# Each with all dependencies.
REQUIREMENTS = {"local": "requirements-local.txt", "dev": "requirements-dev.txt"}
SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

# PostgreSQL's packages create a cluster unless this file forbids it. It exists only during the installation.
NO_CLUSTER = "/etc/postgresql-common/createcluster.d/connect.conf"
# HAProxy's package starts a system service.
NO_SERVICE = (
    "if [ -d /run/systemd/system ]; then systemctl disable --now haproxy; "
    "else service haproxy stop; update-rc.d haproxy disable; fi"
)


def postgresql_versions(root: Path = Path("/usr/lib/postgresql")) -> list[int]:
    """The installed server versions that are new enough, newest first."""
    names = [path.parent.parent.name for path in root.glob("*/bin/postgres")]
    found = [int(name) for name in names if name.isdigit()]
    return sorted((version for version in found if version >= OLDEST_POSTGRESQL), reverse=True)


def has_postgis(version: int) -> bool:
    return Path(f"/usr/share/postgresql/{version}/extension/postgis.control").exists()


def missing_packages(purpose: str) -> dict[str, str]:
    """The reason for each missing package, by its name."""
    missing: dict[str, str] = {}
    if importlib.util.find_spec("ensurepip") is None:
        missing["python3-venv"] = "makes the virtual environment"
    if shutil.which("haproxy", path=SYSTEM_PATH) is None:
        missing["haproxy"] = "the proxy in front of all processes"
    versions = postgresql_versions()
    if not any(map(has_postgis, versions)):
        name = f"postgresql-{versions[0]}-postgis-3" if versions else "postgresql-postgis"
        missing[name] = "PostgreSQL with PostGIS, for a private cluster (no system cluster is created)"
    if jars.java() is None:
        missing["default-jre-headless"] = f"Java {jars.OLDEST_JAVA} or newer, which runs the broker"
    if not jars.are_fetched() and shutil.which("mvn") is None:
        missing["maven"] = "fetches the broker, Apache Kafka"
    if purpose == "dev" and shutil.which("chromium") is None:
        missing["chromium"] = "the browser of the tests"
    if purpose == "dev" and ctypes.util.find_library("atomic") is None:
        missing["libatomic1"] = "a library of the browser's driver"
    return missing


def install_script(packages: list[str]) -> str:
    """One line of shell for root. The same text is run and shown."""
    steps = ["apt-get update -q"]
    install = (
        "DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "
        f"-o DPkg::Lock::Timeout=300 {' '.join(packages)}"
    )
    if any(package.startswith("postgresql") for package in packages):
        steps += [f"mkdir -p {Path(NO_CLUSTER).parent}", f"echo create_main_cluster=false > {NO_CLUSTER}"]
        install = f"{{ {install}; result=$?; rm -f {NO_CLUSTER}; [ $result = 0 ]; }}"
    steps.append(install)
    if "haproxy" in packages:
        steps.append(f"{{ {NO_SERVICE}; true; }}")
    return " && ".join(steps)


def install_packages(missing: dict[str, str]) -> None:
    """Installs them as root or with sudo; without either, prints the line to run and stops."""
    for package, reason in missing.items():
        say(f"Installing {package}: {reason}.")
    script = install_script(list(missing))
    as_root = [] if os.getuid() == 0 else ["sudo"]
    if any(shutil.which(program) is None for program in ("apt-get", *as_root)):
        raise Refused(f"The installation needs root. Run this, then make again:\n\n{shown(script)}\n")
    log = private_directory(CHECKOUT / ".local") / "apt.log"
    run([*as_root, "sh", "-c", script], log, f"The installation failed:\n\n{shown(script)}\n\n")


def shown(script: str) -> str:
    return f"sudo sh -c {shlex.quote(script)}"


def prepare_venv(purpose: str) -> None:
    """Installs the requirements of the purpose into `.venv`. A stamp, written last, marks success."""
    python = VENV / "bin" / "python"
    if not has_pip(python):
        say("Making the virtual environment .venv.")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
    for stamp, pins in map(installed, {"dev", purpose}):  # the requirements of `dev` contain the local ones
        if stamp.exists() and stamp.read_text() == pins:
            return
    for old in VENV.glob(".installed-*"):
        old.unlink()  # an interrupted installation leaves no stamp
    say(f"Installing {REQUIREMENTS[purpose]} into .venv.")
    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--require-hashes"]
    if subprocess.run([*pip, "-r", str(CHECKOUT / REQUIREMENTS[purpose])], check=False).returncode != 0:
        raise Refused("pip could not install the requirements; its message is above.")
    stamp, pins = installed(purpose)
    stamp.write_text(pins)


def installed(purpose: str) -> tuple[Path, str]:
    """The stamp of the purpose, and its text after an installation of the current requirements."""
    pins = hashlib.sha256((CHECKOUT / REQUIREMENTS[purpose]).read_bytes()).hexdigest()
    return VENV / f".installed-{purpose}", pins


def has_pip(python: Path) -> bool:
    """False without a virtual environment, and after an upgrade of the Python that it was made with."""
    probe = [str(python), "-c", "import pip"]
    return python.exists() and subprocess.run(probe, capture_output=True, check=False).returncode == 0


def main(purpose: str) -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - any Python may run this
        raise Refused(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}.")
    with locked(private_directory(CHECKOUT / ".local") / "prepare.lock"):
        if missing := missing_packages(purpose):
            install_packages(missing)
        prepare_venv(purpose)
        jars.fetch()
        if purpose == "dev":
            newman.fetch()


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Refused as refused:
        complain(str(refused))
        sys.exit(1)
