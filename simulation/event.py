"""What happens: halls with booths, talks and tables, people who walk between them, phones that tell where.

Each phone is asked in turn, so the pings come in time order and only the people are held in memory.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from heapq import heapify, heappop, heapreplace
from random import Random

from locations.pings import Ping
from simulation.people import BOOTHS, Person

WIDTH_M, DEPTH_M = 300, 200  # of a hall
_APART_M = 340  # from hall to hall
_LATITUDE, _LONGITUDE = 52.5, 13.4  # the south-west corner of the first hall
_PER_METRE_NORTH, _PER_METRE_EAST = 1 / 111_265, 1 / 67_910  # degrees, there

OPENS = time(9)
HOURS = 8
_MINUTE = 60.0
_HOUR = 60 * _MINUTE
_TALKS = tuple(hour * _HOUR for hour in (1, 2.25, 4.75, 6))  # after opening, three quarters of an hour each
_TALK_LASTS = 45 * _MINUTE

_NOISE_M = 0.8  # what a position is off, most of the time; it drifts rather than jumps
_DRIFT = 0.8
_GAP_CHANCE = 0.003  # per ping: that the phone is then silent for some minutes

Point = tuple[float, float]


@dataclass(slots=True)
class Guest:
    """A person with habits, and the leg that he or she is on: from `origin` at `left` to `target`."""

    person: Person
    pace: float  # metres per second
    talks: float  # how likely a talk is attended
    stays: float  # seconds at a booth, on average
    friends: Sequence[int]  # places in the list of guests
    hall: int
    left: float = 0.0
    arrives: float = 0.0
    until: float = 0.0
    origin: Point = (0.0, 0.0)
    target: Point = (0.0, 0.0)
    way: list[Point] = field(default_factory=list)  # corners still ahead; a walk follows the aisles
    stay: float = 0.0  # how long at the end of the way
    leaves: float = 0.0
    lunch: float | None = 0.0
    off: Point = (0.0, 0.0)


class Event:
    """Deterministic: the same people, options and seed give the same pings."""

    def __init__(
        self, people: Sequence[Person], *, start: date, days: int, interval_s: float, halls: int, seed: int
    ):
        self.start = start
        self.days = days
        self._interval_s = interval_s
        self._halls = halls
        self._chance = Random(f"event {seed}")  # noqa: S311 - a game, not a secret
        self._lunches = [3 * _HOUR + self._chance.uniform(0, 80) * _MINUTE for _ in range(BOOTHS)]
        of_company: dict[int, list[int]] = {}
        for index, person in enumerate(people):
            of_company.setdefault(person.company, []).append(index)
        self._guests = [self._guest(person, of_company[person.company], len(people)) for person in people]

    def _guest(self, person: Person, colleagues: list[int], everyone: int) -> Guest:
        chance = self._chance
        friends = [chance.randrange(everyone) for _ in range(3)]
        friends += [colleagues[chance.randrange(len(colleagues))] for _ in range(2)]
        return Guest(
            person,
            pace=chance.uniform(0.9, 1.5),
            talks=chance.uniform(0.1, 0.8),
            stays=chance.uniform(4, 14) * _MINUTE,
            friends=friends,
            hall=person.company % self._halls if person.staff else chance.randrange(self._halls),
        )

    def pings(self) -> Iterator[Ping]:
        """In time order."""
        for day in range(self.days):
            yield from self._day(datetime.combine(self.start, OPENS, UTC) + timedelta(days=day))

    def _day(self, opening: datetime) -> Iterator[Ping]:
        chance, random = self._chance, self._chance.random
        gauss, drift = chance.gauss, _NOISE_M * (1 - _DRIFT**2) ** 0.5
        interval = self._interval_s
        for guest in self._guests:
            self._arrive(guest)
        turns = [(guest.left + interval * random(), index) for index, guest in enumerate(self._guests)]
        heapify(turns)
        guests, advance = self._guests, self._advance
        while turns:
            now, index = turns[0]
            guest = guests[index]
            if now >= guest.leaves:
                heappop(turns)
                continue
            if now >= guest.until:
                advance(guest, now)
            if now >= guest.arrives:
                x, y = guest.target
            else:
                part = (now - guest.left) / (guest.arrives - guest.left)
                x = guest.origin[0] + part * (guest.target[0] - guest.origin[0])
                y = guest.origin[1] + part * (guest.target[1] - guest.origin[1])
            off_x = _DRIFT * guest.off[0] + gauss(0.0, drift)
            off_y = _DRIFT * guest.off[1] + gauss(0.0, drift)
            guest.off = (off_x, off_y)
            yield Ping(
                guest.person.id,
                opening + timedelta(milliseconds=int(now * 1000)),
                round(_LATITUDE + (y + off_y) * _PER_METRE_NORTH, 7),
                round(_LONGITUDE + (x + off_x) * _PER_METRE_EAST, 7),
            )
            following = now + interval * (0.97 + 0.06 * random())
            if random() < _GAP_CHANCE:
                following += (2 + 10 * random()) * _MINUTE
            heapreplace(turns, (following, index))

    # --- what somebody does ----------------------------------------------------------------------

    def _arrive(self, guest: Guest) -> None:
        chance = self._chance
        early = 0.0 if guest.person.staff else abs(chance.gauss(0, 25)) * _MINUTE
        guest.left = guest.arrives = guest.until = min(early, 3 * _HOUR)
        guest.leaves = (HOURS - (0 if guest.person.staff else min(abs(chance.gauss(0, 0.5)), 3))) * _HOUR
        guest.target = (guest.hall * _APART_M + WIDTH_M / 2 + chance.gauss(0, 5), -5.0)  # the entrance
        guest.way = []
        guest.lunch = self._lunches[guest.person.company] + chance.gauss(0, 3) * _MINUTE

    def _advance(self, guest: Guest, now: float) -> None:
        """Leg by leg, to the one that the guest is on now."""
        while now >= guest.until:
            if not guest.way:
                self._decide(guest, guest.until)
            begins = guest.until
            guest.origin, guest.target = guest.target, guest.way.pop(0)
            way_m = abs(guest.target[0] - guest.origin[0]) + abs(guest.target[1] - guest.origin[1])
            guest.left, guest.arrives = begins, begins + way_m / guest.pace
            guest.until = guest.arrives + (guest.stay if not guest.way else 0.0)

    def _decide(self, guest: Guest, now: float) -> None:
        chance, staff = self._chance, guest.person.staff
        talk = next((begin for begin in _TALKS if 0 <= begin - now <= 10 * _MINUTE), None)
        if guest.lunch is not None and now >= guest.lunch:
            guest.lunch = None
            self._go(guest, guest.hall, self._table(guest.person.company), chance.uniform(25, 45) * _MINUTE)
        elif staff and chance.random() < 0.85:
            spot = _around(_booth(guest.person.company), chance, 1.2)
            self._go(guest, guest.person.company % self._halls, spot, chance.uniform(20, 60) * _MINUTE)
        elif talk is not None and chance.random() < guest.talks:
            seat = (110 + chance.randrange(80) * 1.0, 172 + chance.randrange(16) * 1.2)
            self._go(guest, chance.randrange(self._halls), seat, talk + _TALK_LASTS - now)
        elif chance.random() < 0.2:
            friend = self._guests[chance.choice(guest.friends)]
            place = friend.way[-1] if friend.way else friend.target
            hall = max(0, min(int(place[0] // _APART_M), self._halls - 1))
            near = _around((place[0] - hall * _APART_M, place[1]), chance, 0.7)
            self._go(guest, hall, near, chance.uniform(3, 12) * _MINUTE)
        else:
            booth = int(BOOTHS * chance.random() ** 2)  # the first ones draw the crowd
            spot = _around(_booth(booth), chance, 1.6)
            stay = min(chance.expovariate(1 / guest.stays), _HOUR) + 0.5 * _MINUTE
            self._go(guest, booth % self._halls, spot, stay)

    def _table(self, company: int) -> Point:
        return _around((280.0, 15 + 12.0 * (company % 15)), self._chance, 0.8)

    def _go(self, guest: Guest, hall: int, spot: Point, stay: float) -> None:
        """Along the aisles, and to another hall through both doors."""
        x, y = guest.target
        goal = (hall * _APART_M + spot[0], spot[1])
        if hall != guest.hall:
            doors = [each * _APART_M + WIDTH_M / 2 for each in (guest.hall, hall)]
            guest.way = [(x, -5.0), (doors[0], -5.0), (doors[1], -5.0), (goal[0], -5.0), goal]
            guest.hall = hall
        else:
            guest.way = [(goal[0], y), goal]
        guest.stay = stay


def _booth(number: int) -> Point:
    return (20 + 26.0 * (number % 10), 20 + 25.0 * (number // 10))


def _around(point: Point, chance: Random, metres: float) -> Point:
    return (point[0] + chance.gauss(0, metres), point[1] + chance.gauss(0, metres))
