"""Zones and collections that the tests of the venue share."""

from typing import Any


def square(west: float = 13.4, south: float = 52.5, side: float = 0.001) -> list[list[float]]:
    """A closed ring."""
    east, north = west + side, south + side
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def feature(
    name: str = "Hall 1", kind: str = "hall", *, rings: Any = None, **properties: Any
) -> dict[str, Any]:
    return {
        "type": "Feature",
        "properties": {"name": name, "kind": kind, **properties},
        "geometry": {"type": "Polygon", "coordinates": [square()] if rings is None else rings},
    }


def collection(*features: Any, **members: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features), **members}
