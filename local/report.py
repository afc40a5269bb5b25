"""The output of `make status`, `make stage` and `make logs`, and the addresses that `make up` prints."""

import contextlib
import datetime as dt
import shlex
import subprocess
import sys
import time
from pathlib import Path

from local import kafka, proxy, setting_overrides
from local.instance import Instance, read_json, say
from local.rollout import generations, is_ready, running_file, state_file
from local.seed import STAFF_USER, password_file
from local.supervision import Supervisor, leftovers

LOG_LINES = 40
NOTHING = "Nothing is running."
# The encounters of the first simulated person on the first day, of ten minutes and longer. With other data
# the API answers that there is no such person.
SOMEBODY = 1_000_001
FIRST_QUESTION = (
    f"/api/persons/{SOMEBODY}/encounters?start_date=2026-05-11&end_date=2026-05-11&min_duration=600"
)


def addresses(instance: Instance) -> None:
    scheme = "http" if setting_overrides.certificate(instance) is None else "https"
    app, api, persons = (f"{scheme}://127.0.0.1:{instance.node_port(port)}" for port in (30000, 30001, 30002))
    running = read_json(running_file(instance))
    listens = {"*": "every address of this machine", "127.0.0.1": "127.0.0.1 only"}
    say(f"\nConnect runs at stage {running['stage']}.\n{access(instance)}")
    say(f"Ports for clients listen on {listens[setting_overrides.public_address(instance)]}.\n")
    lines = [
        (30000, "Connect APP", f"{app}/"),
        (30001, "Connect API", f"{api}/api/persons"),
        (30001, "API docs", f"{api}/api/docs"),
        (30001, "Admin site", f"{api}/admin/ {staff(instance)}"),
        (30002, "Persons API", f"{persons}/api/persons"),
        (30003, "Locations", f"127.0.0.1:{instance.node_port(30003)}"),
    ]
    for port, name, address in lines:
        if instance.node_port(port) in running["node_ports"]:
            say(f"  {name:<12} {address}")
    if kafka.NAME in Supervisor(instance).programs():
        broker = kafka.private_broker(instance, running=True)
        file = shown(instance, kafka.admin_file(instance))
        login = f" (user admin, password in {file})" if broker.is_secured else ""
        say(f"  {'Broker':<12} {broker.url}{login}")
    if instance.access == "open":
        say(f"\nTry first: open {app}/people/{SOMEBODY} in a browser,")
        say(f"or curl '{api}{FIRST_QUESTION}'.")


def access(instance: Instance) -> str:
    if instance.access == "open":
        return "ACCESS=open: every user of this machine may do everything."
    return (
        "ACCESS=tokens: callers need a token. Make tokens in the admin site, or the first one with:\n"
        f"  {manage_py(instance)} tokens make staff --user {STAFF_USER}"
    )


def manage_py(instance: Instance) -> str:
    """The command line of `manage.py` for this system, in the checkout."""
    command = ".venv/bin/python manage.py"
    if instance.state == instance.checkout / ".local":
        return command
    return f"CONNECT_STATE_DIR={shlex.quote(str(instance.state))} {command}"


def staff(instance: Instance) -> str:
    """The login of the admin site: the user, and where the password is."""
    file = password_file(instance)
    if not file.exists():
        return "(with a staff user of the given database)"
    return f"(user {STAFF_USER}, password in {shown(instance, file)})"


def shown(instance: Instance, file: Path) -> Path:
    return file.relative_to(instance.checkout) if file.is_relative_to(instance.checkout) else file


def status(instance: Instance) -> int:
    """Prints a line per program; returns 0 only if all run and are ready."""
    supervisor = Supervisor(instance)
    if supervisor.pid() is None:
        left = leftovers(instance)
        killed = f"The supervisor was killed, {len(left)} processes still run; `make up` starts all anew."
        say(killed if left else NOTHING)
        return 1
    running = read_json(running_file(instance))
    current = {one.program: one for one in generations(instance).values()}
    say(f"Stage {running.get('stage', 'not reached yet')}.")
    whole = bool(running)
    for program, info in sorted(supervisor.programs().items()):
        state = info["statename"].lower()
        if program in current:
            state = "ready" if is_ready(instance, current[program]) else "not ready"
        elif program == "haproxy":
            state = "ready" if proxy.running_marker(instance) is not None else "not ready"
        elif program == kafka.NAME:
            state = "ready" if kafka.private_broker(instance, running=True).is_ready() else "not ready"
        whole = whole and state in ("running", "ready")
        up = dt.timedelta(seconds=max(0, int(time.time()) - info["start"])) if info["pid"] else "-"
        say(f"  {program:<20} {state:<10} pid {info['pid']:<8} up {up}{progress(instance, program)}")
    return 0 if whole else 1


def progress(instance: Instance, program: str) -> str:
    """The lag of a writer."""
    unwritten = read_json(state_file(instance, program)).get("unwritten")
    return "" if unwritten is None else f", {unwritten:,} pings to be written"


def stage(instance: Instance) -> int:
    name = read_json(running_file(instance)).get("stage")
    if name is None or Supervisor(instance).pid() is None:
        say(NOTHING)
        return 1
    say(name)
    return 0


def logs(instance: Instance) -> int:
    files = sorted(str(file) for file in instance.logs.glob("*.log"))
    if not files:
        say("There are no logs yet.")
        return 1
    follow = ["-F"] if sys.stdout.isatty() else []
    with contextlib.suppress(KeyboardInterrupt):  # which ends following
        subprocess.run(["tail", "-n", str(LOG_LINES), *follow, *files], check=False)
    return 0
