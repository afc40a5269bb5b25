"""The use case of phones: what an app sends becomes pings, and what is refused is counted by reason."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from access.audit import MAX_ID
from access.callers import Caller
from connect import neighbours
from locations import services
from locations.pings import parse_person_id
from phones import gpslogger, osmand, overland, owntracks
from phones.reading import NoPerson, PhoneRequest, Reading, reason_of

WHOSE = (
    "Whose position is this? Use a token of one person, or set the person's id as the user name (OwnTracks, "
    "GPSLogger) or as the device id (Overland; with ACCESS=open also OsmAnd and Traccar Client)."
)


@dataclass(frozen=True, slots=True)
class App:
    """The protocol of an app: `fill` fills a Reading from a request, and `answer` lets its queue go on."""

    name: str
    fill: Callable[[PhoneRequest, Reading], None]
    answer: Any

    def read(self, request: PhoneRequest, caller: Caller) -> Reading:
        """The pings and the refused points of a request. Raises NoPerson."""
        reading = Reading(partial(_person_of, caller))
        self.fill(request, reading)
        return reading


APPS = {
    name: App(name, module.read, module.ANSWER)
    for name, module in {
        "owntracks": owntracks,
        "overland": overland,
        "osmand": osmand,
        "gpslogger": gpslogger,
    }.items()
}


def take(app: App, request: PhoneRequest, caller: Caller) -> Any:
    """Stores the positions of a request, counts its refused ones, and returns the answer for the app.

    All are durable when it returns. Raises NoPerson, NeighbourUnavailable and what locations.services.submit
    raises: then the app keeps its positions and sends them again.
    """
    reading = app.read(request, caller)
    refused = reading.refused
    if reading.pings:
        receipt = services.submit(caller, reading.pings)
        refused += [(reading.pings[each.index].person_id, reason_of(each)) for each in receipt.refused]
    if refused:
        neighbours.phones().count(app.name, Counter((_possible(person), why) for person, why in refused))
    return app.answer


def _possible(person_id: int | None) -> int | None:
    """None for an id that no person can have; some have too many digits for JSON."""
    return person_id if person_id is not None and 0 < person_id <= MAX_ID else None


def _person_of(caller: Caller, device: Any) -> int:
    """The person of a phone: the token's. For a caller with several people the app names the person."""
    if caller.people is not None and caller.people[0] == caller.people[1]:
        return caller.people[0]
    try:
        return parse_person_id(device)
    except ValueError:
        raise NoPerson(WHOSE) from None
