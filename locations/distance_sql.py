"""Nearness in SQL: chords, geodesics, and the cubes in which what is near is looked for.

Nearness is decided in geocentric metres, where it is the same everywhere on earth. The chord between two
points of the ellipsoid is never longer than the geodesic and, up to 10 km, at most 1.1 mm shorter; only
pairs inside that doubt (at 5 m it is a ten-millionth of a metre, all rounding) are measured on the geodesic.
"""

from math import ceil

# PostgreSQL raises an error where a product or a quotient of floats underflows to 0. Rows that older versions
# stored may have coordinates as small as 1e-320 m, so a coordinate or a difference is squared or divided only
# after this is added to it. It changes no value of more than 1e-73.
TINY = 1e-90


def square(a: str, b: str) -> str:
    """The square of the chord between two rows, in square metres; `b` is what its columns begin with."""
    steps = (f"({a}.{axis} - {b}{axis} + {TINY})" for axis in "xyz")
    return " + ".join(f"{step} * {step}" for step in steps)


def geodesic(a: str, b: str) -> str:
    """The distance of two rows in metres, by their degrees."""
    points = ", ".join(f"ST_MakePoint({each}.longitude, {each}.latitude)::geography" for each in (a, b))
    return f"ST_Distance({points})"


def reach(distance_m: float) -> dict[str, float]:
    """The chords that are surely and perhaps within a geodesic distance of up to 10 km, and their squares.

    geodesic - chord <= chord^3 / (24 r^2), r >= 6335 km (the smallest radius of curvature of WGS84).
    The rest is room for rounding: coordinates of 6,378 km are good to a few nanometres.
    """
    room_m = 1e-7
    surely_m = distance_m - distance_m**3 / (24 * 6.33e6**2) - room_m
    perhaps_m = distance_m + room_m
    return {
        "distance_m": distance_m,
        "surely_m": surely_m,
        "perhaps_m": perhaps_m,
        "surely": surely_m**2 if surely_m > 0 else -1,
        "perhaps": perhaps_m**2,
    }


def cell(x: str, y: str, z: str) -> str:
    """The number of the cube with these whole numbers, as locations_cell gives it for those of 32 m.

    Smaller ones share a number with others that are millions of cubes away.
    """
    x, y, z = (f"((({each})::bigint + 1048576) & 2097151)" for each in (x, y, z))
    return f"(({x} << 42) | ({y} << 21) | {z})"


def cell_of(row: str, edge: float | str) -> str:
    """The number of the cube that a row is in; `edge` in metres, a number or SQL."""
    return cell(*(f"floor(({row}.{axis} + {TINY}) / {edge})" for axis in "xyz"))


def cells(row: str, reach_m: float, edge_m: float, edge: str | None = None) -> str:
    """Joins to each row the numbers of the cubes that are in its reach, as `near (cell)`.

    `edge` is SQL, for an edge that is known only there; `edge_m` is the shortest that it may be.
    """
    edge = edge or str(edge_m)
    # Arrays of known length, not generate_series, because the planner can count them.
    steps = list(range(ceil(2 * reach_m / edge_m) + 1))
    first = {axis: f"floor(({row}.{axis} - {reach_m}) / {edge})" for axis in "xyz"}
    last = {axis: f"floor(({row}.{axis} + {reach_m}) / {edge})" for axis in "xyz"}
    joins = " ".join(
        f"JOIN unnest(ARRAY{steps}) AS step_{axis} ON {first[axis]} + step_{axis} <= {last[axis]}"
        for axis in "xyz"
    )
    number = cell(*(f"{first[axis]} + step_{axis}" for axis in "xyz"))
    return f"{joins} CROSS JOIN LATERAL (SELECT {number} AS cell) AS near"
