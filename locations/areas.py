"""Checks the polygons of a question about areas."""

from django.contrib.gis.geos import GEOSException, GEOSGeometry


def is_polygon(wkb: bytes) -> bool:
    """Whether this is the WKB of a valid polygon in degrees of longitude and latitude."""
    try:
        shape = GEOSGeometry(memoryview(wkb))
    except (GEOSException, ValueError):
        return False
    if shape.geom_type != "Polygon" or shape.empty or shape.hasz or not shape.valid:
        return False
    west, south, east, north = shape.extent
    return -180 <= west <= east <= 180 and -90 <= south <= north <= 90
