"""The simulated event: people walk between booths, talks and tables in halls, and their phones send pings.

A heap holds the time of each phone's next ping: pings come in time order, and only people are in memory.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from heapq import heapify, heappop, heapreplace
from random import Random
from typing import NamedTuple

from locations.pings import Ping
from simulation.people import BOOTHS, Person, company_name

_HALL_WIDTH_M, _HALL_DEPTH_M = 300, 200
_HALL_SPACING_M = 340
PER_HALL = 4  # areas of each hall in the floor plan, besides booths
_LATITUDE, _LONGITUDE = 52.5, 13.4  # the south-west corner of the first hall
_DEGREES_PER_METRE_NORTH, _DEGREES_PER_METRE_EAST = 1 / 111_265, 1 / 67_910  # at that latitude

OPENING_TIME = time(9)
OPENING_HOURS = 8
_MINUTE = 60.0
_HOUR = 60 * _MINUTE
_TALK_STARTS = tuple(hour * _HOUR for hour in (1, 2.25, 4.75, 6))  # after opening
_TALK_DURATION = 45 * _MINUTE

_NOISE_M = 0.8  # standard deviation of the position error
_NOISE_CORRELATION = 0.8  # between consecutive pings: the error drifts instead of jumping
_GAP_PROBABILITY = 0.003  # per ping: the phone sends nothing for some minutes after it

Point = tuple[float, float]


@dataclass(slots=True)
class Guest:
    """A person, their habits and current leg from `origin` to `target`. Times are seconds from opening."""

    person: Person
    speed_m_s: float
    talk_probability: float
    mean_stay: float  # seconds at a booth
    friends: Sequence[int]  # indexes in the list of guests
    hall: int
    leg_starts_at: float = 0.0
    leg_arrives_at: float = 0.0
    leg_ends_at: float = 0.0  # after the stay
    origin: Point = (0.0, 0.0)
    target: Point = (0.0, 0.0)
    route: list[Point] = field(default_factory=list)  # remaining corners; walks follow the aisles
    stay: float = 0.0  # seconds at the end of the route
    leaves_at: float = 0.0
    lunch_at: float | None = 0.0  # None after lunch
    error: Point = (0.0, 0.0)  # of the last position, in metres


class Event:
    """Deterministic: the same people, options and seed give the same pings. `start` is the first day."""

    def __init__(
        self, people: Sequence[Person], *, start: date, days: int, interval_s: float, halls: int, seed: int
    ):
        self.start = start
        self.days = days
        self._interval_s = interval_s
        self._halls = halls
        self._rng = Random(f"event {seed}")  # noqa: S311 - not for secrets
        self._lunches = [3 * _HOUR + self._rng.uniform(0, 80) * _MINUTE for _ in range(BOOTHS)]
        by_company: dict[int, list[int]] = {}
        for index, person in enumerate(people):
            by_company.setdefault(person.company, []).append(index)
        self._guests = [self._guest(person, by_company[person.company], len(people)) for person in people]

    def _guest(self, person: Person, colleagues: list[int], people_count: int) -> Guest:
        rng = self._rng
        friends = [rng.randrange(people_count) for _ in range(3)]
        friends += [colleagues[rng.randrange(len(colleagues))] for _ in range(2)]
        return Guest(
            person,
            speed_m_s=rng.uniform(0.9, 1.5),
            talk_probability=rng.uniform(0.1, 0.8),
            mean_stay=rng.uniform(4, 14) * _MINUTE,
            friends=friends,
            hall=person.company % self._halls if person.staff else rng.randrange(self._halls),
        )

    def pings(self) -> Iterator[Ping]:
        """All pings in time order."""
        for day in range(self.days):
            yield from self.day(datetime.combine(self.start, OPENING_TIME, UTC) + timedelta(days=day))

    def day(self, opening: datetime) -> Iterator[Ping]:
        """The pings of the next day, which opens at this time, in time order."""
        rng, random = self._rng, self._rng.random
        gauss, step_m = rng.gauss, _NOISE_M * (1 - _NOISE_CORRELATION**2) ** 0.5
        interval = self._interval_s
        for guest in self._guests:
            self._start_day(guest)
        queue = [
            (guest.leg_starts_at + interval * random(), index) for index, guest in enumerate(self._guests)
        ]
        heapify(queue)
        guests, advance = self._guests, self._advance
        while queue:
            now, index = queue[0]
            guest = guests[index]
            if now >= guest.leaves_at:
                heappop(queue)
                continue
            if now >= guest.leg_ends_at:
                advance(guest, now)
            if now >= guest.leg_arrives_at:
                x, y = guest.target
            else:
                part = (now - guest.leg_starts_at) / (guest.leg_arrives_at - guest.leg_starts_at)
                x = guest.origin[0] + part * (guest.target[0] - guest.origin[0])
                y = guest.origin[1] + part * (guest.target[1] - guest.origin[1])
            error_x = _NOISE_CORRELATION * guest.error[0] + gauss(0.0, step_m)
            error_y = _NOISE_CORRELATION * guest.error[1] + gauss(0.0, step_m)
            guest.error = (error_x, error_y)
            yield Ping(
                guest.person.id,
                opening + timedelta(milliseconds=int(now * 1000)),
                _latitude(y + error_y),
                _longitude(x + error_x),
            )
            next_at = now + interval * (0.97 + 0.06 * random())
            if random() < _GAP_PROBABILITY:
                next_at += (2 + 10 * random()) * _MINUTE
            heapreplace(queue, (next_at, index))

    # --- what a guest does -----------------------------------------------------------------------

    def _start_day(self, guest: Guest) -> None:
        rng = self._rng
        early = 0.0 if guest.person.staff else abs(rng.gauss(0, 25)) * _MINUTE
        guest.leg_starts_at = guest.leg_arrives_at = guest.leg_ends_at = min(early, 3 * _HOUR)
        guest.leaves_at = (
            OPENING_HOURS - (0 if guest.person.staff else min(abs(rng.gauss(0, 0.5)), 3))
        ) * _HOUR
        guest.target = (
            guest.hall * _HALL_SPACING_M + _HALL_WIDTH_M / 2 + rng.gauss(0, 5),
            -5.0,
        )  # the entrance
        guest.route = []
        guest.lunch_at = self._lunches[guest.person.company] + rng.gauss(0, 3) * _MINUTE

    def _advance(self, guest: Guest, now: float) -> None:
        """Moves the guest leg by leg to the one that is current at `now`."""
        while now >= guest.leg_ends_at:
            if not guest.route:
                self._choose_destination(guest, guest.leg_ends_at)
            starts_at = guest.leg_ends_at
            guest.origin, guest.target = guest.target, guest.route.pop(0)
            route_m = abs(guest.target[0] - guest.origin[0]) + abs(guest.target[1] - guest.origin[1])
            guest.leg_starts_at, guest.leg_arrives_at = starts_at, starts_at + route_m / guest.speed_m_s
            guest.leg_ends_at = guest.leg_arrives_at + (guest.stay if not guest.route else 0.0)

    def _choose_destination(self, guest: Guest, now: float) -> None:
        rng, staff = self._rng, guest.person.staff
        talk = next((begin for begin in _TALK_STARTS if 0 <= begin - now <= 10 * _MINUTE), None)
        if guest.lunch_at is not None and now >= guest.lunch_at:
            guest.lunch_at = None
            self._walk(
                guest, guest.hall, self._lunch_table(guest.person.company), rng.uniform(25, 45) * _MINUTE
            )
        elif staff and rng.random() < 0.85:
            spot = _scatter(_booth_position(guest.person.company), rng, 1.2)
            self._walk(guest, guest.person.company % self._halls, spot, rng.uniform(20, 60) * _MINUTE)
        elif talk is not None and rng.random() < guest.talk_probability:
            seat = (110 + rng.randrange(80) * 1.0, 172 + rng.randrange(16) * 1.2)
            self._walk(guest, rng.randrange(self._halls), seat, talk + _TALK_DURATION - now)
        elif rng.random() < 0.2:
            friend = self._guests[rng.choice(guest.friends)]
            target = friend.route[-1] if friend.route else friend.target
            hall = max(0, min(int(target[0] // _HALL_SPACING_M), self._halls - 1))
            spot = _scatter((target[0] - hall * _HALL_SPACING_M, target[1]), rng, 0.7)
            self._walk(guest, hall, spot, rng.uniform(3, 12) * _MINUTE)
        else:
            booth = int(BOOTHS * rng.random() ** 2)  # booths with low numbers are more popular
            spot = _scatter(_booth_position(booth), rng, 1.6)
            stay = min(rng.expovariate(1 / guest.mean_stay), _HOUR) + 0.5 * _MINUTE
            self._walk(guest, booth % self._halls, spot, stay)

    def _lunch_table(self, company: int) -> Point:
        return _scatter((280.0, 15 + 12.0 * (company % 15)), self._rng, 0.8)

    def _walk(self, guest: Guest, hall: int, spot: Point, stay: float) -> None:
        """Sets a route along the aisles, to another hall through the doors of both."""
        x, y = guest.target
        goal = (hall * _HALL_SPACING_M + spot[0], spot[1])
        if hall != guest.hall:
            doors = [each * _HALL_SPACING_M + _HALL_WIDTH_M / 2 for each in (guest.hall, hall)]
            guest.route = [(x, -5.0), (doors[0], -5.0), (doors[1], -5.0), (goal[0], -5.0), goal]
            guest.hall = hall
        else:
            guest.route = [(goal[0], y), goal]
        guest.stay = stay


# --- the floor plan ------------------------------------------------------------------------------


class Area(NamedTuple):
    """A rectangle of the floor plan, in metres from the south-west corner of the first hall."""

    name: str
    kind: str
    company: str | None
    west: float
    south: float
    east: float
    north: float

    def ring(self) -> list[tuple[float, float]]:
        """Its corners as longitude and latitude, the first one again at the end."""
        corners = [
            (self.west, self.south),
            (self.east, self.south),
            (self.east, self.north),
            (self.west, self.north),
            (self.west, self.south),
        ]
        return [(_longitude(x), _latitude(y)) for x, y in corners]


def floor_plan(halls: int) -> Iterator[Area]:
    """The areas that people walk between: per hall the hall, its entrance, stage and food; the booths."""
    for hall in range(halls):
        x, number, middle = float(hall * _HALL_SPACING_M), hall + 1, _HALL_WIDTH_M / 2
        yield Area(f"Hall {number}", "hall", None, x, 0, x + _HALL_WIDTH_M, _HALL_DEPTH_M)
        yield Area(f"Entrance {number}", "entrance", None, x + middle - 15, -12, x + middle + 15, 0)
        yield Area(f"Stage {number}", "stage", None, x + 105, 168, x + 195, 195)
        yield Area(f"Food {number}", "food", None, x + 272, 8, x + 288, 190)
    for booth in range(BOOTHS):
        x, y = _booth_position(booth)
        x += booth % halls * _HALL_SPACING_M
        yield Area(f"Booth {booth + 1}", "booth", company_name(booth), x - 5, y - 5, x + 5, y + 5)


def _latitude(y: float) -> float:
    return round(_LATITUDE + y * _DEGREES_PER_METRE_NORTH, 7)


def _longitude(x: float) -> float:
    return round(_LONGITUDE + x * _DEGREES_PER_METRE_EAST, 7)


def _booth_position(number: int) -> Point:
    return (20 + 26.0 * (number % 10), 20 + 25.0 * (number // 10))


def _scatter(point: Point, rng: Random, metres: float) -> Point:
    return (point[0] + rng.gauss(0, metres), point[1] + rng.gauss(0, metres))
