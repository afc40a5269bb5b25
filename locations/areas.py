"""Checks the polygons of a question about areas."""

from collections.abc import Iterable

from django.contrib.gis.geos import GEOSException, GEOSGeometry, Polygon

from locations.limits import MAX_AREA_POINTS


def polygons_error(polygons: Iterable[bytes]) -> str:
    """The error text of polygons that are not valid or have too many points together; empty if they are good.

    A polygon is WKB in degrees of longitude and latitude.
    """
    points = 0
    for wkb in polygons:
        if (polygon := _parse(wkb)) is None:
            return "Must be valid polygons in degrees of longitude and latitude, as WKB."
        points += polygon.num_points
        if points > MAX_AREA_POINTS:
            return f"Must have at most {MAX_AREA_POINTS:,} points together."
    return ""


def _parse(wkb: bytes) -> Polygon | None:
    try:
        shape = GEOSGeometry(memoryview(wkb))
    except (GEOSException, ValueError):
        return None
    if not isinstance(shape, Polygon) or shape.empty or shape.hasz or not shape.valid:
        return None
    west, south, east, north = shape.extent
    return shape if -180 <= west <= east <= 180 and -90 <= south <= north <= 90 else None
