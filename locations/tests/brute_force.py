"""Connections and encounters of the contract by brute force: all pairs, Karney's geodesic."""

from collections import defaultdict
from datetime import datetime, timedelta
from functools import cache
from itertools import pairwise, product

from geographiclib.geodesic import Geodesic

from locations.pings import Ping


@cache
def distance_m(a: Ping, b: Ping) -> float:
    line = Geodesic.WGS84.Inverse(a.latitude, a.longitude, b.latitude, b.longitude, Geodesic.DISTANCE)
    return line["s12"]


def is_accurate(ping: Ping, max_accuracy_m) -> bool:
    return max_accuracy_m is None or ping.accuracy is None or ping.accuracy <= max_accuracy_m


def pairs(pings, person_id, start, end, within_s, hidden=frozenset(), max_accuracy_m=None):
    """(own, other) pairs, both in [start, end) and near in time, without other people who are hidden."""
    in_range = [
        ping for ping in pings if start <= ping.creation_time < end and is_accurate(ping, max_accuracy_m)
    ]
    own = [ping for ping in in_range if ping.person_id == person_id]
    others = [ping for ping in in_range if ping.person_id not in {person_id, *hidden}]
    for o, p in product(own, others):
        if within_s is None or abs(o.creation_time - p.creation_time) <= timedelta(seconds=within_s):
            yield o, p


def plausible(pings, person_id, start, end, max_speed_m_s) -> list[Ping]:
    """A person's pings in the range that are reachable from the previous stored ping."""
    own = sorted((p for p in pings if p.person_id == person_id), key=lambda p: p.creation_time)
    good = []
    for before, ping in pairwise([None, *own]):
        passed_s = (ping.creation_time - before.creation_time).total_seconds() if before else None
        if passed_s is None or (passed_s >= 1 and distance_m(before, ping) <= max_speed_m_s * passed_s):
            good.append(ping)
    return [ping for ping in good if start <= ping.creation_time < end]


def is_ambiguous(pings, person_id, start, end, d) -> bool:
    """Whether the distance of a pair is so close to `d` that rounding decides."""
    return any(abs(distance_m(o, p) - d) < 1e-6 for o, p in pairs(pings, person_id, start, end, None))


def connections(
    pings,
    person_id,
    *,
    start: datetime,
    end: datetime,
    distance_m: float,
    within_s=None,
    max_accuracy_m=None,
    hidden=frozenset(),
):
    near = pairs(pings, person_id, start, end, within_s, hidden, max_accuracy_m)
    found = {p for o, p in near if _near(o, p, distance_m)}
    return sorted(found, key=lambda p: (p.creation_time, p.person_id))


def encounters(
    pings,
    person_id,
    *,
    start,
    end,
    distance_m: float,
    within_s,
    max_gap_s,
    min_duration_s=0,
    max_accuracy_m=None,
    max_speed_m_s=None,
    hidden=frozenset(),
) -> list[tuple]:
    """(person_id, start, end, pings, min_distance_m, latitude, longitude), ordered by start, person."""
    stored = [p for p in pings if p.person_id == person_id and start <= p.creation_time < end]
    counting = stored
    if max_speed_m_s is not None:
        counting = plausible(pings, person_id, start, end, max_speed_m_s)
        stored = [p for p in stored if is_accurate(p, max_accuracy_m) or p not in counting]
    by_person = defaultdict(list)
    for o, p in pairs(pings, person_id, start, end, within_s, hidden, max_accuracy_m):
        if _near(o, p, distance_m) and o in counting:
            by_person[p.person_id].append((max(o.creation_time, p.creation_time), o, p))
    rows = []
    for other, met in by_person.items():
        met.sort(key=lambda pair: pair[0])
        runs = [[met[0]]]
        for before, pair in pairwise(met):
            if pair[0] - before[0] <= timedelta(seconds=max_gap_s):
                runs[-1].append(pair)
            else:
                runs.append([pair])
        if max_speed_m_s is not None:
            runs = [run for run in runs if _is_mostly_together(run, stored)]
        rows += [row for run in runs if (row := _summary(other, run, min_duration_s))]
    return sorted(rows, key=lambda row: (row[1], row[0]))


def _near(o: Ping, p: Ping, d: float) -> bool:
    return distance_m(o, p) <= d


def _is_mostly_together(run, stored) -> bool:
    """Whether at least half of the given own pings from the first to the last of the run are in it."""
    together = {o.creation_time for _, o, _ in run}
    meanwhile = [p for p in stored if min(together) <= p.creation_time <= max(together)]
    return 2 * len(together) >= len(meanwhile)


def _summary(other, run, min_duration_s):
    own = [o.creation_time for _, o, _ in run]
    theirs = [p.creation_time for _, _, p in run]
    begins = max(min(own), min(theirs))
    ends = max(begins, min(max(own), max(theirs)))
    if (ends - begins).total_seconds() < min_duration_s:
        return None
    # Distances a few nanometres apart count as equal: the two libraries agree no further.
    shortest = min(distance_m(o, p) for _, o, p in run)
    nearest = min(
        (o for _, o, p in run if distance_m(o, p) <= shortest + 2e-8), key=lambda o: o.creation_time
    )
    return other, begins, ends, len(set(theirs)), shortest, nearest.latitude, nearest.longitude
