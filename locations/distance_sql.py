"""Distances in SQL: chords, geodesics, and the cubes that limit a search to what is near.

Distances are compared as chords in geocentric metres, which work the same everywhere on earth. A chord is
never longer than the geodesic and, up to 10 km, at most 1.1 mm shorter. Only pairs within that uncertainty
(at 5 m it is 1e-7 m, all of it rounding) are measured on the geodesic.
"""

from math import ceil

# PostgreSQL raises an error if a product or quotient of floats underflows to 0. Rows of older versions may
# have coordinates as small as 1e-320 m, so this is added to a coordinate or difference before it is squared
# or divided. It changes no value of more than 1e-73.
TINY = 1e-90


def square(a: str, b: str) -> str:
    """The square of the chord between two rows, in square metres; `b` is the prefix of its columns."""
    steps = (f"({a}.{axis} - {b}{axis} + {TINY})" for axis in "xyz")
    return " + ".join(f"{step} * {step}" for step in steps)


def geodesic(a: str, b: str) -> str:
    """The geodesic distance of two rows in metres, from their latitude and longitude."""
    points = ", ".join(f"ST_MakePoint({each}.longitude, {each}.latitude)::geography" for each in (a, b))
    return f"ST_Distance({points})"


def chords(distance_m: float) -> dict[str, float]:
    """Parameters that compare chords with a geodesic distance of up to 10 km.

    A chord up to `inner_m` is within the distance, one beyond `outer_m` is not. Between them the geodesic
    decides. `inner_squared` and `outer_squared` are their squares; `inner_squared` is -1 if `inner_m` is not
    positive: then the geodesic decides for every chord up to `outer_m`.

    geodesic - chord <= chord^3 / (24 r^2), r >= 6335 km (the smallest radius of curvature of WGS84).
    The tolerance is for rounding: coordinates of 6,378 km are exact to a few nanometres.
    """
    tolerance_m = 1e-7
    inner_m = distance_m - distance_m**3 / (24 * 6.33e6**2) - tolerance_m
    outer_m = distance_m + tolerance_m
    return {
        "distance_m": distance_m,
        "inner_m": inner_m,
        "outer_m": outer_m,
        "inner_squared": inner_m**2 if inner_m > 0 else -1,
        "outer_squared": outer_m**2,
    }


def cell(x: str, y: str, z: str) -> str:
    """The number of the cube with these integer coordinates; for 32 m cubes the same as locations_cell.

    A smaller cube may share its number with one that is millions of cubes away.
    """
    x, y, z = (f"((({each})::bigint + 1048576) & 2097151)" for each in (x, y, z))
    return f"(({x} << 42) | ({y} << 21) | {z})"


def cell_of(row: str, edge: float | str) -> str:
    """The number of the cube that a row is in; `edge` in metres, a number or SQL."""
    return cell(*(f"floor(({row}.{axis} + {TINY}) / {edge})" for axis in "xyz"))


def cells(row: str, reach_m: float, edge_m: float, edge: str | None = None) -> str:
    """A join of each row with the numbers of the cubes within `reach_m` of it, as `near (cell)`.

    `edge` is SQL, for an edge that only the statement knows; `edge_m` is then its minimum.
    """
    edge = edge or str(edge_m)
    # Arrays and not generate_series: the planner knows their length.
    steps = list(range(ceil(2 * reach_m / edge_m) + 1))
    first = {axis: f"floor(({row}.{axis} - {reach_m}) / {edge})" for axis in "xyz"}
    last = {axis: f"floor(({row}.{axis} + {reach_m}) / {edge})" for axis in "xyz"}
    joins = " ".join(
        f"JOIN unnest(ARRAY{steps}) AS step_{axis} ON {first[axis]} + step_{axis} <= {last[axis]}"
        for axis in "xyz"
    )
    number = cell(*(f"{first[axis]} + step_{axis}" for axis in "xyz"))
    return f"{joins} CROSS JOIN LATERAL (SELECT {number} AS cell) AS near"
