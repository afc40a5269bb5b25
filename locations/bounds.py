"""A box of longitudes and latitudes, and its SQL condition."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """west, south, east and north in degrees, borders included; west > east crosses the 180th meridian."""

    west: float
    south: float
    east: float
    north: float

    def __post_init__(self) -> None:
        if self.south > self.north:
            raise ValueError("The south must not be north of the north.")

    @property
    def condition(self) -> str:
        """The SQL condition that a position is inside; it takes the four numbers as named parameters."""
        inside = "AND" if self.west <= self.east else "OR"
        return (
            "latitude BETWEEN %(south)s AND %(north)s "
            f"AND (longitude >= %(west)s {inside} longitude <= %(east)s)"
        )
