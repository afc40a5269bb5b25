"""Days, positions, heat and visits of the contract by brute force: plain loops over all pings."""

from collections import defaultdict
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from math import cos, floor, pi, radians
from statistics import median
from zoneinfo import ZoneInfo

from locations.pings import Ping
from locations.presence import AreaVisits, Day, HeatCell

Ring = list[tuple[float, float]]  # corners without the last, which is the first again
METRES_PER_DEGREE = 6_371_008.8 * pi / 180


def whose(pings, person_id, hidden) -> list[Ping]:
    if person_id is None:
        return [ping for ping in pings if ping.person_id not in hidden]
    return [ping for ping in pings if ping.person_id == person_id]


def days(pings, *, person_id, time_zone, hidden=frozenset()) -> list[Day]:
    times = defaultdict(list)
    for ping in whose(pings, person_id, hidden):
        times[ping.creation_time.astimezone(ZoneInfo(time_zone)).date()].append(ping.creation_time)
    return [Day(day, min(times[day]), max(times[day])) for day in sorted(times)]


def positions(pings, *, at: datetime, max_age_s, bounds, person_id, hidden=frozenset()) -> list[Ping]:
    newest: dict[int, Ping] = {}
    for ping in sorted(whose(pings, person_id, hidden), key=lambda ping: ping.creation_time):
        if at - timedelta(seconds=max_age_s) < ping.creation_time <= at:
            newest[ping.person_id] = ping
    return [newest[each] for each in sorted(newest) if bounds is None or _is_inside(newest[each], bounds)]


def _is_inside(ping: Ping, bounds) -> bool:
    if not bounds.south <= ping.latitude <= bounds.north:
        return False
    if bounds.west <= bounds.east:
        return bounds.west <= ping.longitude <= bounds.east
    return ping.longitude >= bounds.west or ping.longitude <= bounds.east


def heat(pings, *, start, end, cell_m, person_id, hidden=frozenset()) -> list[HeatCell]:
    minutes = defaultdict(set)
    for ping in whose(pings, person_id, hidden):
        if start <= ping.creation_time < end:
            minute = ping.creation_time.replace(second=0, microsecond=0)
            minutes[centre(ping, cell_m)].add((ping.person_id, minute))
    return [
        HeatCell(*place, len(minutes[place]), len({person for person, _ in minutes[place]}))
        for place in sorted(minutes)
    ]


def centre(ping: Ping, cell_m: float) -> tuple[float, float]:
    """Latitude and longitude of the middle of the cell that a ping is in."""
    rows = max(1, round(180 * METRES_PER_DEGREE / cell_m))
    height = 180 / rows
    latitude = (min(floor((ping.latitude + 90) / height), rows - 1) + 0.5) * height - 90
    columns = max(1, round(360 * METRES_PER_DEGREE / cell_m * cos(radians(latitude))))
    column = floor((ping.longitude + 180) / 360 * columns) % columns
    return latitude, (column + 0.5) * 360 / columns - 180


def visits(
    pings,
    *,
    areas: dict[int, list[Ring]],
    start,
    end,
    max_gap_s,
    min_duration_s,
    person_id,
    hidden=frozenset(),
) -> list[AreaVisits]:
    found = []
    for area_id in sorted(areas):
        times = defaultdict(list)
        for ping in whose(pings, person_id, hidden):
            if start <= ping.creation_time < end and is_covered(ping, areas[area_id]):
                times[ping.person_id].append(ping.creation_time)
        stays = [
            (person, stay)
            for person in times
            for stay in _stays(sorted(times[person]), max_gap_s)
            if stay >= min_duration_s
        ]
        seconds = [stay for _, stay in stays]
        people = len({person for person, _ in stays})
        longest = max(seconds, default=None)
        found.append(
            AreaVisits(
                area_id, people, len(stays), sum(seconds), median(seconds) if seconds else None, longest
            )
        )
    return found


def _stays(times: list[datetime], max_gap_s) -> list[float]:
    runs = [[times[0]]]
    for before, time in pairwise(times):
        if time - before <= timedelta(seconds=max_gap_s):
            runs[-1].append(time)
        else:
            runs.append([time])
    return [(run[-1] - run[0]).total_seconds() for run in runs]


def is_covered(ping: Ping, rings: list[Ring]) -> bool:
    """Whether the polygon of these rings, the outer one and its holes, covers the ping; exact arithmetic."""
    x, y = Fraction(ping.longitude), Fraction(ping.latitude)
    crossings = 0
    for ring in rings:
        for (x1, y1), (x2, y2) in pairwise([*ring, ring[0]]):
            a, b, c, d = map(Fraction, (x1, y1, x2, y2))
            side = (c - a) * (y - b) - (d - b) * (x - a)
            if side == 0 and min(a, c) <= x <= max(a, c) and min(b, d) <= y <= max(b, d):
                return True  # on the border
            crossings += (b > y) != (d > y) and (side > 0) == (d > b)
    return crossings % 2 == 1
