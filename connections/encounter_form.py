"""An encounter as REST shows it."""

from typing import Any

from connect.wire_format import format_degrees, format_time


def to_wire(encounter: Any, person: dict[str, Any]) -> dict[str, Any]:
    """An encounter with this person, as the one who is asked about sees it."""
    return {
        "person": person,
        "start": format_time(encounter.start),
        "end": format_time(encounter.end),
        "duration_s": encounter.duration_s,
        "pings": encounter.pings,
        "min_distance_m": encounter.min_distance_m,
        "latitude": format_degrees(encounter.latitude),
        "longitude": format_degrees(encounter.longitude),
    }
