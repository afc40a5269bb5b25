"""What a person feels: how many such requests a second, and how long the slowest of a hundred takes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client

from bench.event import WHOLE, Event
from bench.http_load import Load, load
from bench.report import Part, Spread
from connect.wire_format import format_time
from locations.pings import make_id
from tests.gunicorn_server import ROOT, Server, database_url
from tests.system import at

OLDER = 752  # requests a second of an older system: 5 people, 2 workers (issue 6, ../shared/measurements.md)
FEW, MANY = 5, 100_000
PAGE = 50  # people on a page of the app
ROUNDS = 3
WORKERS = 2
CONNECTIONS = 16
STREAMS = 4  # of answers so long that one worker alone would not stream more of them at once
HEADERS = {"Accept": "application/json"}
APPS = "persons,locations,connections,admin,webapp"


class View(NamedTuple):
    """What is looked at, and of which process."""

    name: str
    server: Server
    path: str
    headers: dict[str, str] = HEADERS
    at_once: int = CONNECTIONS

    def ask(self, asking: Load, lasts_s: float) -> list[float]:
        netloc = urlsplit(self.server.url("")).netloc
        return asking.of(netloc, self.path, self.headers, at_once=self.at_once, lasts_s=lasts_s)


def parts(event: Event) -> Iterator[Part]:
    lasts_s = 0.5 + 2.5 * event.people / WHOLE
    with load() as asking, people(FEW) as few, people(MANY) as many, serving(database_url()) as there:
        views = [
            View(f"`GET /api/persons`, {FEW} people", few, "/api/persons"),
            View(
                f"`GET /api/persons`, {MANY:,} people, first page of {PAGE}",
                many,
                f"/api/persons?limit={PAGE}",
            ),
            *of_the_event(event, there),
        ]
        yield measured(views, asking, lasts_s)


def of_the_event(event: Event, there: Server) -> Iterator[View]:
    person = f"/api/persons/{event.person_id}"
    day = {"start_date": format_time(event.start), "end_date": format_time(event.end)}
    noon = event.start + timedelta(hours=12)
    place = {"person_id": event.person_id, "limit": PAGE}
    minutes = {"start": format_time(noon), "end": format_time(noon + timedelta(minutes=5)), "limit": 1000}
    yield View("one person", there, person)
    yield View("one location", there, f"/api/locations/{a_location(event.person_id)}")
    yield View("the app: its page", there, "/", {"Accept": "text/html"})
    yield View("the app: people", there, f"/api/persons?{urlencode({'search': 'a', 'limit': PAGE})}")
    yield View("the app: where a person was, a page", there, f"/api/locations?{urlencode(place)}")
    met = f"{person}/encounters?{urlencode(day)}"
    yield View(f"the app: a person's encounters that day, {STREAMS} at once", there, met, at_once=STREAMS)
    yield View("the app: the crowd, five minutes", there, f"/api/locations?{urlencode(minutes)}")
    staff = {"Accept": "text/html", "Cookie": f"{settings.SESSION_COOKIE_NAME}={signed_in()}"}
    yield View("the admin: people", there, "/admin/persons/person/", staff)
    yield View("the admin: locations", there, "/admin/locations/location/", staff)


def measured(views: list[View], asking: Load, lasts_s: float) -> Part:
    part = Part("What a person feels")
    part.text(
        f"{WORKERS} gunicorn workers; {CONNECTIONS} kept connections, each of which asks again as soon as it "
        "has its answer, so that a request waits for its turn most of its time; clients, server and database "
        f"share the machine. {ROUNDS} rounds of {lasts_s:g} s, in turn. The older systems had {FEW} people "
        f"and {WORKERS} workers, too, but another day, so the ratio is a rough one."
    )
    rates: dict[str, list[float]] = {view.name: [] for view in views}
    times: dict[str, list[float]] = {view.name: [] for view in views}
    for view in views:
        view.ask(asking, lasts_s / 4)  # connects every thread to the database
    for _ in range(ROUNDS):
        for view in views:
            took = view.ask(asking, lasts_s)
            rates[view.name].append(view.at_once * len(took) / sum(took))
            times[view.name] += took
    first = Spread(rates[views[0].name]).median
    part.target(
        f"{views[0].name}, beside the older systems' {OLDER}/s",
        "more",
        f"{first:,.0f}/s: {first / OLDER:.2f} x",
        met=first > OLDER,
    )
    rows = []
    for name, of in times.items():
        spread = Spread(of)
        rows.append((name, Spread(rates[name]).rate(), ms(spread.median), ms(spread.quantile(0.99))))
    part.table(("what", "requests a second (least to most)", "median", "p99"), rows)
    return part


def ms(seconds: float) -> str:
    return f"{seconds * 1e3:,.1f} ms"


# --- where it is asked ---------------------------------------------------------------------------


@contextmanager
def serving(url: str) -> Iterator[Server]:
    with Server(ACCESS="open", SERVED_APPS=APPS, WEB_WORKERS=str(WORKERS), DATABASE_URL=url) as server:
        yield server


@contextmanager
def people(count: int) -> Iterator[Server]:
    """So many of them, alone in a database of their own."""
    name = f"bench_{count}_people"
    url = urlsplit(database_url())._replace(path=f"/{name}").geturl()
    with at(database_url()) as maintenance, maintenance.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    try:
        migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
        subprocess.run(migrate, cwd=ROOT, env=os.environ | {"DATABASE_URL": url}, check=True)
        with at(url) as one, one.cursor() as cursor:
            cursor.execute(
                "INSERT INTO persons_person (first_name, last_name, company_name) "
                "SELECT 'Ada', 'Lovelace', 'Engines Ltd' FROM generate_series(1, %s)",
                [count],
            )
            cursor.execute("VACUUM ANALYZE persons_person")
        with serving(url) as server:
            yield server
    finally:
        with at(database_url()) as maintenance, maintenance.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


def a_location(person_id: int) -> str:
    """The id of one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT min(creation_time) FROM locations_location WHERE person_id = %s", [person_id])
        return make_id(person_id, cursor.fetchone()[0])


def signed_in() -> str:
    """The session of a member of staff."""
    client = Client()
    name, backend = "bench", "django.contrib.auth.backends.ModelBackend"
    users = get_user_model().objects
    user = users.filter(username=name).first() or users.create_superuser(name)
    client.force_login(user, backend)
    return client.cookies[settings.SESSION_COOKIE_NAME].value
