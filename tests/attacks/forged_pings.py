"""Own pings that an attendee makes up to learn where others are: each way is a path through the hall.

A path is a list of (seconds after its start, metres east, metres north), in order of time.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import accumulate, cycle, islice

from locations.pings import Ping

COUNT = 9_360  # as many as once gave away everybody's day
DAY_S = 8 * 3600
STAY = 65  # pings
HALL_M = (300.0, 200.0)
CORNER = (52.5, 13.4)  # the south-west corner of the hall
METRES = (111_250.0, 67_800.0)  # of a degree of latitude and of longitude there

Path = list[tuple[float, float, float]]


def grid_sweep() -> Path:
    """Each 2.5 m of the hall, row by row, each row from west to east; the day is spread over it."""
    return [(n * DAY_S / COUNT, n % 120 * 2.5, n // 120 * 2.5) for n in range(COUNT)]


def zigzag() -> Path:
    """The same points as one walk, each second row from east to west: nowhere is a jump."""
    rows = [(n % 120, n // 120) for n in range(COUNT)]
    return [(n * DAY_S / COUNT, (119 - x if y % 2 else x) * 2.5, y * 2.5) for n, (x, y) in enumerate(rows)]


def runner() -> Path:
    """As fast as is allowed, a ping a second, in rows 10 m apart, again and again."""
    row = [(10.0 * x, 10.0 * y) for y in range(20) for x in (range(30) if y % 2 == 0 else range(29, -1, -1))]
    there_and_back = cycle(row + row[::-1])
    return [(float(n), *spot) for n, spot in enumerate(islice(there_and_back, COUNT))]


def jumps() -> Path:
    """From booth to booth and round again, a ping at each: everybody at once."""
    booths = cycle([(30.0 * x + 2, 33.0 * y + 2) for y in range(6) for x in range(10)])
    return [(n * DAY_S / COUNT, *spot) for n, spot in enumerate(islice(booths, COUNT))]


def double_jumps() -> Path:
    """The same with two pings at each booth, of which the second is no jump."""
    booths = cycle([(30.0 * x + 2, 33.0 * y + 2) for y in range(6) for x in range(10) for _ in range(2)])
    return [(n * DAY_S / COUNT, *spot) for n, spot in enumerate(islice(booths, COUNT))]


def pile() -> Path:
    """A hundred pings within a second at each of as many places as that gives."""
    return [
        (n // 100 * DAY_S / 94 + n % 100 / 100, 30.0 * (n // 100 % 10) + 2, 33.0 * (n // 1000 % 6) + 2)
        for n in range(COUNT)
    ]


def stays() -> Path:
    """A little over a minute at each booth, a ping a second, and then on to the next: no rule forbids it."""
    steps = [(30.0 * x + 2, 33.0 * y + 2) for y in range(6) for x in range(10)]
    spots = [spot for spot in islice(cycle(steps), COUNT // STAY) for _ in range(STAY)]
    # A jump to the next booth takes as long as running there would.
    moments = accumulate(8.0 if n and n % STAY == 0 else 1.0 for n in range(len(spots)))
    return [(moment, *spot) for moment, spot in zip(moments, spots, strict=True)]


PATHS: dict[str, Callable[[], Path]] = {
    path.__name__: path for path in (grid_sweep, zigzag, runner, jumps, double_jumps, pile, stays)
}


def pings(person_id: int, start: datetime, path: Path) -> list[Ping]:
    """The path as pings of this person, rounded as a phone would send them."""
    return [
        Ping(
            person_id,
            start + timedelta(seconds=seconds),
            round(CORNER[0] + north / METRES[0], 7),
            round(CORNER[1] + east / METRES[1], 7),
        )
        for seconds, east, north in path
    ]
