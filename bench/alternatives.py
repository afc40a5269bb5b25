"""What a user would have instead: the same question as others ask it, on the same rows."""

from datetime import timedelta
from typing import Any

import numpy as np
from django.db import connection
from scipy.spatial import cKDTree

from bench.event import Event, vacuum

Rows = list[tuple[Any, ...]]

LAYOUTS = {
    # As systems of the UdaConnect family keep locations: a geometry, its B-tree, one more for the time.
    "bench_loop": """
        CREATE TABLE bench_loop AS
        SELECT person_id, creation_time, ST_SetSRID(ST_MakePoint(longitude, latitude), 4326) AS coordinate
          FROM locations_location;
        CREATE INDEX ON bench_loop (coordinate);
        CREATE INDEX ON bench_loop (creation_time);
        CREATE INDEX ON bench_loop (person_id)""",
    "bench_points": """
        CREATE TABLE bench_points AS
        SELECT person_id, creation_time, ST_MakePoint(longitude, latitude)::geography AS position
          FROM locations_location;
        CREATE UNIQUE INDEX ON bench_points (person_id, creation_time);
        CREATE INDEX bench_position ON bench_points USING gist (position)""",
    "bench_points_time": """
        CREATE EXTENSION IF NOT EXISTS btree_gist;
        CREATE TABLE bench_points_time AS SELECT * FROM bench_points;
        CREATE UNIQUE INDEX ON bench_points_time (person_id, creation_time);
        CREATE INDEX bench_position_time ON bench_points_time USING gist (position, creation_time)""",
}

LOOP_OWN = """
SELECT ST_X(coordinate), ST_Y(coordinate) FROM bench_loop
 WHERE person_id = %(person_id)s AND creation_time >= %(start)s AND creation_time < %(end)s
"""
LOOP_STEP = """
SELECT person_id, creation_time, ST_Y(coordinate), ST_X(coordinate) FROM bench_loop
 WHERE ST_DWithin(coordinate::geography, ST_MakePoint(%(x)s, %(y)s)::geography, %(distance_m)s)
   AND person_id <> %(person_id)s AND creation_time >= %(start)s AND creation_time < %(end)s
"""

SELF_JOIN = """
SELECT DISTINCT other.person_id, other.creation_time,
       ST_Y(other.position::geometry), ST_X(other.position::geometry)
  FROM {table} AS own JOIN {table} AS other
    ON ST_DWithin(own.position, other.position, %(distance_m)s) AND other.person_id <> own.person_id {within}
 WHERE own.person_id = %(person_id)s AND own.creation_time >= %(start)s AND own.creation_time < %(end)s
   AND other.creation_time >= %(start)s AND other.creation_time < %(end)s
 ORDER BY creation_time, person_id
"""
WITHIN = "AND other.creation_time BETWEEN own.creation_time - %(within)s AND own.creation_time + %(within)s"


def build() -> None:
    for table, sql in LAYOUTS.items():
        with connection.cursor() as cursor:
            cursor.execute(sql)
        vacuum(table)


def rows(sql: str, values: Any) -> Rows:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()


def self_join(
    event: Event, distance_m: float, within_s: float | None, *, table: str = "bench_points"
) -> Rows:
    sql = SELF_JOIN.format(table=table, within="" if within_s is None else WITHIN)
    values = event.question(distance_m) | {"person_id": event.person_id}
    return rows(sql, values | {"within": timedelta(seconds=within_s or 0)})


def loop(event: Event, distance_m: float, steps: int) -> Rows:
    """The first steps of a loop with one statement for each own ping; each takes as long as any other."""
    values = event.question(distance_m) | {"person_id": event.person_id}
    found: Rows = []
    for x, y in rows(LOOP_OWN, values)[:steps]:
        found += rows(LOOP_STEP, values | {"x": x, "y": y})
    return found


class InMemory:
    """The day in memory as a k-d tree over geocentric metres and time, already built: the floor.

    Time is scaled so that the tolerance is as long as the distance.
    """

    def __init__(self, event: Event, distance_m: float, within_s: float) -> None:
        self._distance_m, self._within_s, self._person_id = distance_m, within_s, event.person_id
        self._rows = rows(
            "SELECT person_id, creation_time, latitude, longitude FROM locations_location "
            "WHERE creation_time >= %(start)s AND creation_time < %(end)s ORDER BY creation_time, person_id",
            event.question(),
        )
        axes = rows(
            "SELECT x, y, z, extract(epoch FROM creation_time - %(start)s)::float8 FROM locations_location "
            "WHERE creation_time >= %(start)s AND creation_time < %(end)s ORDER BY creation_time, person_id",
            event.question(),
        )
        self._persons = np.array([person_id for person_id, *_ in self._rows])
        self._points: np.ndarray[Any, Any] = np.array(axes)
        self._scaled = self._points * [1, 1, 1, distance_m / within_s]
        self._tree = cKDTree(self._scaled)

    def places(self) -> "np.ndarray[Any, Any]":
        """The places, in order of time and person, of what is near an own ping."""
        own = np.flatnonzero(self._persons == self._person_id)
        near = self._tree.query_ball_point(
            self._scaled[own], self._distance_m * (1 + 1e-9), p=np.inf, return_sorted=False
        )
        others = np.concatenate(near).astype(int)
        apart = self._points[others] - self._points[np.repeat(own, [len(each) for each in near])]
        met = (apart[:, :3] ** 2).sum(axis=1) <= self._distance_m**2
        met &= (np.abs(apart[:, 3]) <= self._within_s) & (self._persons[others] != self._person_id)
        return np.unique(others[met])

    def rows(self) -> Rows:
        return list(map(self._rows.__getitem__, self.places()))
