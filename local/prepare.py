"""What the other commands stand on: Debian packages, the virtual environment, the broker's jars, newman.

Nothing is done twice.

Called by the Makefile with the system's own Python, before there is a virtual environment:
`python3 -m local.prepare local` for running, `python3 -m local.prepare dev` for tests and checks.
"""

import contextlib
import ctypes.util
import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from local import jars, newman
from local.instance import CHECKOUT, VENV, Refused, complain, given, private_directory, say

OLDEST_POSTGRESQL = 15
REQUIREMENTS = {"local": "requirements-local.txt", "dev": "requirements-dev.txt"}  # each is a closure
SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

# PostgreSQL's packages make and start a cluster of their own unless they are told not to; the file is
# there only while they are installed, so that the machine's defaults stay what they were.
NO_CLUSTER = "/etc/postgresql-common/createcluster.d/connect.conf"
# HAProxy's package starts a system service that nobody asked for.
NO_SERVICE = (
    "if [ -d /run/systemd/system ]; then systemctl disable --now haproxy; "
    "else service haproxy stop; update-rc.d haproxy disable; fi"
)


def postgresql_versions(root: Path = Path("/usr/lib/postgresql")) -> list[int]:
    """The installed server versions that are new enough, newest first."""
    found = (
        int(path.parent.parent.name)
        for path in root.glob("*/bin/postgres")
        if path.parent.parent.name.isdigit()
    )
    return sorted((version for version in found if version >= OLDEST_POSTGRESQL), reverse=True)


def has_postgis(version: int) -> bool:
    return Path(f"/usr/share/postgresql/{version}/extension/postgis.control").exists()


def missing_packages(*, private_cluster: bool, private_broker: bool, dev: bool) -> dict[str, str]:
    """Package names with the reason that is shown for each."""
    missing: dict[str, str] = {}
    if not has_venv():
        missing["python3-venv"] = "makes the virtual environment"
    if shutil.which("haproxy", path=SYSTEM_PATH) is None:
        missing["haproxy"] = "the one door before all processes"
    versions = postgresql_versions()
    if private_cluster and not any(map(has_postgis, versions)):
        name = f"postgresql-{versions[0]}-postgis-3" if versions else "postgresql-postgis"
        missing[name] = "PostgreSQL with PostGIS, for a cluster of its own (no system cluster is made)"
    elif ctypes.util.find_library("gdal") is None:
        missing["gdal-bin"] = "the geometry library of GeoDjango"
    if private_broker and jars.java() is None:
        missing["default-jre-headless"] = f"Java {jars.OLDEST_JAVA} or newer, which runs the broker"
    if private_broker and not jars.are_fetched() and shutil.which("mvn") is None:
        missing["maven"] = "fetches the broker, Apache Kafka, by its Maven coordinates"
    if dev and shutil.which("chromium") is None:
        missing["chromium"] = "the browser of the tests"
    if dev and ctypes.util.find_library("atomic") is None:
        missing["libatomic1"] = "a library of the driver of that browser"
    return missing


def has_venv() -> bool:
    if (VENV / "bin" / "python").exists():
        return True
    probe = [sys.executable, "-c", "import ensurepip, venv"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def install_script(packages: list[str]) -> str:
    """One line of shell that does everything as root; what is run and what is shown are the same text."""
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
    """Installs as root or through sudo; where neither is to be had, says the line to run and stops."""
    for package, reason in missing.items():
        say(f"Installing {package}: {reason}.")
    script = install_script(list(missing))
    as_root = root_command()
    if as_root is None or shutil.which("apt-get") is None:
        raise Refused(f"Installing them needs root. Run this, then make again:\n\n{shown(script)}\n")
    command = [*as_root, "sh", "-c", script]
    log = private_directory(CHECKOUT / ".local") / "apt.log"
    with log.open("wb") as output:
        result = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False)
    if result.returncode != 0:
        complain("\n".join(log.read_text(errors="replace").splitlines()[-20:]))
        raise Refused(f"The installation failed; all it said is in {log}. What was run:\n\n{shown(script)}\n")


def shown(script: str) -> str:
    return f"sudo sh -c {shlex.quote(script)}"


def root_command() -> list[str] | None:
    """What to put before a command that needs root; None where root is out of reach."""
    if os.getuid() == 0:
        return []
    if shutil.which("sudo") is None:
        return None
    if subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0:
        return ["sudo", "-n"]
    return ["sudo"] if sys.stdin.isatty() else None


def prepare_venv(purpose: str) -> None:
    """Makes `.venv` hold what the purpose requires; a stamp, written last, tells that it does."""
    python = VENV / "bin" / "python"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not runs(python, version):
        say(f"Making the virtual environment .venv with Python {version}.")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
    stamp = VENV / f".installed-{purpose}"
    if stamp.exists() and stamp.read_text() == digest(purpose):
        return
    for old in VENV.glob(".installed-*"):
        old.unlink()  # an interrupted installation leaves no stamp behind
    # The development set contains the local one: a pip run for less would take nothing away again.
    kept = purpose if purpose == "dev" or not (VENV / "bin" / "pytest").exists() else "dev"
    say(f"Installing {REQUIREMENTS[kept]} into .venv.")
    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    pinned = ["--require-hashes", "-r", str(CHECKOUT / REQUIREMENTS[kept])]
    result = subprocess.run([*pip, *pinned], check=False)
    if result.returncode != 0:
        raise Refused("pip could not install the requirements; its message is above.")
    for satisfied in {"local", kept}:
        (VENV / f".installed-{satisfied}").write_text(digest(satisfied))


def digest(purpose: str) -> str:
    """What the requirement file of the purpose says, in short."""
    return hashlib.sha256((CHECKOUT / REQUIREMENTS[purpose]).read_bytes()).hexdigest()


def runs(python: Path, version: str) -> bool:
    """Whether the virtual environment is whole and of this Python (an upgrade of the system breaks it)."""
    probe = "import sys, pip; print('%d.%d' % sys.version_info[:2])"
    try:
        answer = subprocess.run([str(python), "-c", probe], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return answer.returncode == 0 and answer.stdout.strip() == version


def main(purpose: str) -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - the Python that runs this is whatever the machine has
        raise Refused(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}.")
    with contextlib.ExitStack() as stack:
        lock = stack.enter_context((private_directory(CHECKOUT / ".local") / "prepare.lock").open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Tests always have a throw-away cluster and broker, so they need both whatever is given.
        dev = purpose == "dev"
        private_cluster = dev or given("DATABASE_URL") is None
        private_broker = dev or not (given("PINGS_URL") or "").startswith("kafka:")
        missing = missing_packages(private_cluster=private_cluster, private_broker=private_broker, dev=dev)
        if missing:
            install_packages(missing)
        prepare_venv(purpose)
        if private_broker:
            jars.fetch()
        if purpose == "dev":
            newman.fetch()


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Refused as refused:
        complain(str(refused))
        sys.exit(1)
