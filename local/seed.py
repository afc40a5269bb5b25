"""Fills a new system: static files, the staff user, and people at a simulated event."""

import json
from collections.abc import Mapping
from pathlib import Path
from secrets import token_urlsafe

from local.instance import Instance, given, kept_secret, locked, private_directory, say, write
from local.manifests import Stage
from local.rollout import native_environ
from local.source_digest import digest
from local.supervision import Program, run

STAFF_USER = "admin"
LIVE = "simulation"
LIVE_COMMAND = ("python", "manage.py", "simulate", "--live", "--interval", "30")
PRESENT = """
import django, json
django.setup()
from django.contrib.auth import get_user_model
from persons.models import Person
from venue.storage import simulated_event
staff, persons = get_user_model().objects.filter(is_staff=True).exists(), Person.objects.exists()
print(json.dumps({"staff": staff, "persons": persons, "simulated": simulated_event() is not None}))
"""


def password_file(instance: Instance) -> Path:
    return instance.state / f"{STAFF_USER}-password"


def seed(instance: Instance, secrets: Mapping[str, str]) -> bool:
    """Makes each part only if it is missing, so the next `make up` completes an interrupted one.

    Returns whether the stored event is the simulated one.
    """
    environ = {**secrets, "DJANGO_SETTINGS_MODULE": "connect.settings"}
    collect_static(instance, environ)
    present = json.loads(run(instance, ("python", "-c", PRESENT), environ).splitlines()[-1])
    if not present["staff"]:
        password = kept_secret(password_file(instance), token_urlsafe(12))
        staff = {
            "DJANGO_SUPERUSER_USERNAME": STAFF_USER,
            "DJANGO_SUPERUSER_EMAIL": f"{STAFF_USER}@localhost",
            "DJANGO_SUPERUSER_PASSWORD": password,
        }
        run(instance, ("python", "manage.py", "createsuperuser", "--noinput"), environ | staff)
        say(f"Created the staff user {STAFF_USER} with password {password} ({password_file(instance)}).")
    # The file remains after an interruption; `simulate` then stores what is missing.
    unfinished = instance.state / "filling"
    if unfinished.exists() or not present["persons"]:
        say("Filling the empty database with a simulated event.")
        unfinished.touch()
        run(instance, ("python", "manage.py", "simulate"), environ)
        # The finder finds encounters of pings that it gets from the topic; these are in the database.
        days = ("--from", "2026-05-11", "--to", "2026-05-12")
        run(instance, ("python", "manage.py", "find_encounters", *days), environ)
        unfinished.unlink()
        present["simulated"] = True
    return bool(present["simulated"])


def live(instance: Instance, stage: Stage, secrets: Mapping[str, str]) -> Program | None:
    """The program that continues the simulated event now, None if it is turned off.

    It sends its pings as the process of the stage that serves locations does.
    """
    if (given("SIMULATE_LIVE") or "true").lower() not in ("true", "1"):
        return None
    door = next(one for one in stage.processes if "locations" in one.environ.get("SERVED_APPS", ""))
    environ = native_environ(instance, stage, door) | {"DATABASE_URL": secrets["DATABASE_URL"]}
    return Program(LIVE, LIVE_COMMAND, instance.checkout, environ, priority=900)


def collect_static(instance: Instance, environ: Mapping[str, str]) -> None:
    """Hashing and compressing takes seconds, so it is done for new sources only, once for all systems.

    The files and the digest of their sources belong to the checkout; systems that start together take turns.
    """
    folder = private_directory(instance.checkout / ".local")
    stamp = folder / "static"
    with locked(folder / "static.lock"):
        sources = digest(instance.checkout)
        made = (instance.checkout / "staticfiles" / "staticfiles.json").exists()
        if not made or not stamp.exists() or stamp.read_text() != sources:
            run(instance, ("python", "manage.py", "collectstatic", "--noinput"), environ)
            write(stamp, sources)
