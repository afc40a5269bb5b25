"""The output of `make status`, `make stage` and `make logs`, and the addresses that `make up` prints."""

import contextlib
import datetime as dt
import shlex
import subprocess
import sys
import time

from local import kafka, proxy, setting_overrides
from local.instance import Instance, read_json, say
from local.rollout import generations, is_ready, running_file, state_file
from local.seed import STAFF_USER, password_file
from local.supervision import Supervisor

NOTHING = "Nothing is running."


def addresses(instance: Instance) -> None:
    scheme = "http" if setting_overrides.certificate(instance) is None else "https"
    app, api, persons = (f"{scheme}://127.0.0.1:{instance.node_port(port)}" for port in (30000, 30001, 30002))
    running = read_json(running_file(instance))
    listens = {"*": "every address of this machine", "127.0.0.1": "127.0.0.1 only"}
    say(f"\nConnect runs at stage {running['stage']}.")
    say(f"Ports for clients listen on {listens[setting_overrides.public_address(instance)]}.\n")
    password = password_file(instance)
    staff = f"(user {STAFF_USER}, password in {password})" if password.exists() else ""
    lines = [
        (30000, "Connect APP", f"{app}/"),
        (30001, "Connect API", f"{api}/api/persons"),
        (30001, "API docs", f"{api}/api/docs"),
        (30001, "Admin site", f"{api}/admin/ {staff}"),
        (30002, "Persons API", f"{persons}/api/persons"),
        (30003, "Locations", f"127.0.0.1:{instance.node_port(30003)}"),
    ]
    for port, name, address in lines:
        if instance.node_port(port) in running["node_ports"]:
            say(f"  {name:<12} {address}")
    if kafka.NAME in Supervisor(instance).programs():
        broker = kafka.private_broker(instance, running=True)
        login = f" (user admin, password in {kafka.admin_file(instance)})" if broker.is_secured else ""
        say(f"  {'Broker':<12} {broker.url}{login}")
    if instance.access == "open":
        say("\nACCESS=open: every user of this machine may do everything.")
        say(f"Try first: open {app}/people/1000001 in a browser.")
    else:
        say("\nACCESS=tokens: callers need a token. Make tokens in the admin site, or the first one with:")
        say(f"  {manage_py(instance)} tokens make staff --user {STAFF_USER}")
        say(f"Phones need TLS: {manage_py(instance)} make_certificate. See docs/run.md, Let phones in.")


def manage_py(instance: Instance) -> str:
    """The command line of `manage.py` for this system, in the checkout."""
    command = ".venv/bin/python manage.py"
    if instance.state == instance.checkout / ".local":
        return command
    return f"CONNECT_STATE_DIR={shlex.quote(str(instance.state))} {command}"


def status(instance: Instance) -> int:
    """Prints a line per program; returns 0 only if all run and are ready."""
    supervisor = Supervisor(instance)
    if supervisor.pid() is None:
        say(NOTHING)
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
        unwritten = read_json(state_file(instance, program)).get("unwritten")  # of a writer
        lag = "" if unwritten is None else f", {unwritten:,} pings to be written"
        say(f"  {program:<20} {state:<10} pid {info['pid']:<8} up {up}{lag}")
    return 0 if whole else 1


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
        subprocess.run(["tail", "-n", "40", *follow, *files], check=False)
    return 0
