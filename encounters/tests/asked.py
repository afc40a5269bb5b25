"""Everybody's encounters by SQL, in the form of the engine's."""

from collections.abc import Iterable

import numpy as np

from connect.wire_format import from_microseconds, to_microseconds
from encounters.engine import Parameters
from encounters.rows import PING, Rows
from locations import storage
from locations.pings import Ping

Views = dict[int, list[tuple]]


def columns(pings: Iterable[Ping]) -> Rows:
    rows = [(p.person_id, to_microseconds(p.creation_time), p.latitude, p.longitude) for p in pings]
    return np.array(rows, PING)


def asked(people: Iterable[int], parameters: Parameters, **between) -> Views:
    """person -> rows (other, start, end, pings, min_distance_m, latitude, longitude)."""
    return {
        person_id: [
            (e.person_id, e.start, e.end, e.pings, e.min_distance_m, e.latitude, e.longitude)
            for e in storage.encounters(
                person_id,
                **between,
                distance_m=parameters.distance_m,
                within_s=parameters.within_s,
                max_gap_s=parameters.max_gap_s,
            )
        ]
        for person_id in people
    }


def found(people: Iterable[int], encounters: Rows) -> Views:
    """The same of what the engine has found."""
    views: Views = {person_id: [] for person_id in people}
    for row in encounters:
        start, end = from_microseconds(int(row["start"])), from_microseconds(int(row["end"]))
        distance = float(row["min_distance_m"])
        for own, other in ("ab", "ba"):
            views[int(row[f"person_{own}_id"])].append(
                (
                    int(row[f"person_{other}_id"]),
                    start,
                    end,
                    int(row[f"pings_{other}"]),
                    distance,
                    float(row[f"latitude_{own}"]),
                    float(row[f"longitude_{own}"]),
                )
            )
    return views


def in_order(views: Views) -> Views:
    return {person_id: sorted(rows) for person_id, rows in views.items()}
