"""Pages and short calls: requests per second, and how long the slowest of a hundred takes."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from itertools import repeat
from typing import NamedTuple
from urllib.parse import urlencode

from bench.doors import rest_path
from bench.event import Event, rows
from bench.report import Part, Spread, alternately
from connect.wire_format import format_time
from locations.pings import make_id
from tests.gunicorn_server import Server
from tests.load import Http, closed_loop

OLDER = 752  # requests per second of an older system with 5 people and 2 workers
FEW, PAGE = 5, 50  # people on a page
ROUNDS = 3
WORKERS = 2
CLIENTS = 16
STREAMS = 4  # long answers at once: one worker alone would not stream more
HTML = "text/html"


class View(NamedTuple):
    name: str
    path: str
    clients: int = CLIENTS
    accept: str = "application/json"


def views(event: Event) -> Iterator[View]:
    person, noon = event.person_id, event.start + timedelta(hours=12)
    [(first,)] = rows("SELECT min(creation_time) FROM locations_location WHERE person_id = %s", [person])
    minutes = {"start": format_time(noon), "end": format_time(noon + timedelta(minutes=5)), "limit": 1000}
    yield View(f"`GET /api/persons`, {FEW} people", f"/api/persons?limit={FEW}")
    yield View(f"`GET /api/persons`, {PAGE} people", f"/api/persons?limit={PAGE}")
    yield View("one person", f"/api/persons/{person}")
    yield View("one location", f"/api/locations/{make_id(person, first)}")
    yield View("the app: its page", "/", accept=HTML)
    yield View("the app: people", f"/api/persons?{urlencode({'search': 'a', 'limit': PAGE})}")
    path = f"/api/locations?{urlencode({'person_id': person, 'limit': PAGE})}"
    yield View("the app: where a person was, a page", path)
    name = f"the app: a person's encounters that day, {STREAMS} at once"
    yield View(name, rest_path(event, "encounters"), STREAMS)
    yield View("the app: the crowd, five minutes", f"/api/locations?{urlencode(minutes)}")


def parts(event: Event) -> Iterator[Part]:
    lasting_s = 0.5 + 2.5 * event.share
    times: dict[str, list[float]] = {}

    def ask(view: View, lasting_s: float) -> list[float]:
        clients = [Http(server.port, None, keep=True, accept=view.accept) for _ in range(view.clients)]
        return closed_loop(clients, repeat(("GET", view.path, b"")), lasting_s=lasting_s)

    def rate(view: View) -> float:
        took = ask(view, lasting_s)
        times.setdefault(view.name, []).extend(took)
        return view.clients * len(took) / sum(took)

    asked = list(views(event))
    served = "persons,locations,connections,webapp"
    with Server(ACCESS="open", SERVED_APPS=served, WEB_WORKERS=str(WORKERS)) as server:
        for view in asked:
            ask(view, lasting_s / 4)  # connects every thread to the database
        rates = alternately({view.name: partial(rate, view) for view in asked}, ROUNDS)
    part = Part("Pages and short calls")
    part.text(
        f"{WORKERS} gunicorn workers; {CLIENTS} kept connections, each of which asks again as soon as it has "
        "its answer, so that a request waits for its turn most of its time; clients, server and database "
        f"share the machine. {ROUNDS} rounds of {lasting_s:g} s, alternately. The older systems had {FEW} "
        f"people and {WORKERS} workers, too, but were measured on another day, so the ratio is rough."
    )
    first = rates[asked[0].name].median
    what = f"{asked[0].name}, beside the older systems' {OLDER}/s"
    part.target(what, "more", f"{first:,.0f}/s: {first / OLDER:.2f} x", met=first > OLDER)
    lines = []
    for name, spread in rates.items():
        took = Spread(times[name])
        median, p99 = f"{took.median * 1e3:,.1f} ms", f"{took.quantile(0.99) * 1e3:,.1f} ms"
        lines.append((name, spread.rate(), median, p99))
    part.table(("what", "requests per second (least to most)", "median", "p99"), lines)
    yield part
