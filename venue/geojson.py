"""Zones as GeoJSON: parses and validates a FeatureCollection of polygons, and writes one."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from django.contrib.gis.geos import GEOSException, Polygon

from venue.limits import MAX_ID, MAX_POINTS, MAX_TOTAL_POINTS, MAX_ZONES
from venue.models import Kind

_MAX_TEXT = 255  # characters of a name
_MAX_ERRORS = 20  # in one answer


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone of the venue. Its area is in WGS84 degrees."""

    id: int
    name: str
    kind: str
    company: str | None
    area: Polygon

    @property
    def properties(self) -> dict[str, Any]:
        return {"id": self.id, "name": self.name, "kind": self.kind, "company": self.company}

    @property
    def wkb(self) -> bytes:
        return bytes(self.area.wkb)


class InvalidZones(ValueError):
    """A collection that cannot be stored. `errors` maps the members of the collection to messages."""

    def __init__(self, errors: dict[str, list[str]]):
        super().__init__(errors)
        self.errors = errors


# --- writing -------------------------------------------------------------------------------------


def collection(zones: Iterable[Zone]) -> dict[str, Any]:
    return {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "properties": zone.properties, "geometry": geometry(zone.area)}
            for zone in zones
        ],
    }


def geometry(area: Polygon) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": area.coords}


# --- parsing -------------------------------------------------------------------------------------


def parse_collection(data: Any) -> list[Zone]:
    """The zones of a FeatureCollection, at most MAX_ZONES.

    A zone keeps its property `id`. Zones without one get the numbers after the highest, in their order.
    Raises InvalidZones, which names each wrong feature by its number and name.
    """
    if not isinstance(data, Mapping):
        raise InvalidZones({"non_field_errors": ["Must be an object."]})
    errors = {
        str(name): ["Unknown field."] for name in data if name not in ("type", "features", "bbox", "id")
    }
    if data.get("type") != "FeatureCollection":
        errors["type"] = ["Must be FeatureCollection."]
    features = data.get("features")
    if not isinstance(features, list):
        errors["features"] = ["Must be an array of features."]
    elif len(features) > MAX_ZONES:
        errors["features"] = [f"Must be at most {MAX_ZONES:,} features; there are {len(features):,}."]
    if errors:
        raise InvalidZones(errors)
    return _number(_parse_features(features or []))


def _parse_features(features: Sequence[Any]) -> list[dict[str, Any]]:
    parsed: list[dict[str, Any]] = []
    errors: list[str] = []
    numbers: dict[int, int] = {}
    for number, feature in enumerate(features, 1):
        try:
            zone = _parse_feature(feature)
            if (zone_id := zone["id"]) is not None and numbers.setdefault(zone_id, number) != number:
                raise ValueError(f"feature {numbers[zone_id]} has the id {zone_id}, too")
        except ValueError as fault:
            errors.append(f"Feature {number}{_label(feature)}: {fault}.")
        else:
            parsed.append(zone)
    if errors:
        more = len(errors) - _MAX_ERRORS
        shown = errors[:_MAX_ERRORS] + ([f"And {more:,} more."] if more > 0 else [])
        raise InvalidZones({"features": shown})
    if (points := sum(zone["area"].num_points for zone in parsed)) > MAX_TOTAL_POINTS:
        text = f"Must have at most {MAX_TOTAL_POINTS:,} points together; they have {points:,}."
        raise InvalidZones({"features": [text]})
    return parsed


def _number(parsed: list[dict[str, Any]]) -> list[Zone]:
    highest = max((zone["id"] for zone in parsed if zone["id"] is not None), default=0)
    zones = []
    for zone in parsed:
        if zone["id"] is None:
            highest += 1
            zone["id"] = highest
        zones.append(Zone(**zone))
    if highest > MAX_ID:
        text = f"A feature without an id would get {highest:,}; ids go to {MAX_ID:,}. Give it an id."
        raise InvalidZones({"features": [text]})
    return zones


def _label(feature: Any) -> str:
    """The name of a feature in brackets, if it has one."""
    match feature:
        case {"properties": {"name": str(name)}} if name.strip():
            return f" ({name.strip()[:40]})"
    return ""


def _parse_feature(feature: Any) -> dict[str, Any]:
    if not isinstance(feature, Mapping) or feature.get("type") != "Feature":
        raise ValueError("it must be an object of the type Feature")
    _refuse_unknown(feature, ("type", "properties", "geometry", "bbox", "id"), "the feature")
    properties = feature.get("properties")
    if not isinstance(properties, Mapping):
        raise ValueError("its properties must be an object with name and kind")
    _refuse_unknown(properties, ("id", "name", "kind", "company"), "its properties")
    kind = properties.get("kind")
    if not isinstance(kind, str) or kind not in Kind.values:
        raise ValueError(f"its kind must be one of {', '.join(Kind.values)}")
    return {
        "id": _parse_id(properties.get("id")),
        "name": _parse_text(properties.get("name"), "name"),
        "kind": kind,
        "company": _parse_company(properties.get("company")),
        "area": parse_geometry(feature.get("geometry")),
    }


def _refuse_unknown(given: Mapping[str, Any], known: Sequence[str], whose: str) -> None:
    if unknown := sorted(str(name)[:40] for name in given if name not in known):
        raise ValueError(f"{whose} may not have {', '.join(unknown[:5])}")


def _parse_id(value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_ID:
        raise ValueError(f"its id must be an integer from 1 to {MAX_ID:,}")
    return value


def _parse_text(value: Any, name: str) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if not text or len(text) > _MAX_TEXT or "\0" in text:
        raise ValueError(f"its {name} must be a text of 1 to {_MAX_TEXT} characters")
    return text


def _parse_company(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    return _parse_text(value, "company")


def parse_geometry(data: Any) -> Polygon:
    """The area of a GeoJSON Polygon. Raises ValueError with a reason that continues a sentence."""
    if not isinstance(data, Mapping) or data.get("type") != "Polygon":
        found = data.get("type") if isinstance(data, Mapping) else None
        raise ValueError(
            "its geometry must be a Polygon" + (f", not a {found[:20]}" if isinstance(found, str) else "")
        )
    _refuse_unknown(data, ("type", "coordinates", "bbox"), "its geometry")
    rings = data.get("coordinates")
    if not isinstance(rings, list) or not rings or not all(isinstance(ring, list) for ring in rings):
        raise ValueError("its coordinates must be an array of rings")
    if (count := sum(map(len, rings))) > MAX_POINTS:
        raise ValueError(f"it has {count:,} points; {MAX_POINTS:,} are allowed")
    parsed = [_parse_ring(ring) for ring in rings]
    try:
        area = Polygon(*parsed, srid=4326)
        if not area.valid:
            # Such as `Self-intersection[13.4 52.5]`.
            reason, _, place = area.valid_reason.rstrip("]").partition("[")
            at = f" at longitude and latitude {place}" if place else ""
            raise ValueError(f"its area is not valid: {reason.lower()}{at}")
    except GEOSException as fault:
        raise ValueError(f"its area is not valid: {fault}") from None
    return area


def _parse_ring(ring: list[Any]) -> list[tuple[float, float]]:
    points = [_parse_position(position) for position in ring]
    if len(points) < 4 or points[0] != points[-1]:
        raise ValueError("each ring must have 4 or more positions, and its last must equal its first")
    if any(abs(point[0] - following[0]) > 180 for point, following in pairwise(points)):
        raise ValueError(
            "two neighbouring positions are more than 180 degrees of longitude apart: split a zone that "
            "crosses the 180th meridian into two zones there"
        )
    return points


def _parse_position(position: Any) -> tuple[float, float]:
    """Longitude and latitude; an altitude is ignored."""
    if not isinstance(position, list) or len(position) not in (2, 3) or not all(map(_is_number, position)):
        raise ValueError("each position must be an array of longitude and latitude")
    longitude, latitude = float(position[0]), float(position[1])
    if not (abs(longitude) <= 180 and abs(latitude) <= 90):
        raise ValueError(
            f"the position {longitude:g}, {latitude:g} is not on Earth: longitudes go from -180 to 180, "
            "latitudes from -90 to 90 degrees"
        )
    return longitude, latitude


def _is_number(value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False
