"""OsmAnd and Traccar Client: one position in the query, in a form or, from Traccar Client 9 on, as JSON.

Source: https://www.traccar.org/osmand/
"""

from datetime import UTC, datetime
from typing import Any

from phones.reading import (
    NO_OBJECT,
    PhoneRequest,
    Reading,
    from_number_or_text,
    json_object,
    parameters,
)

ANSWER = {"result": "ok"}  # the apps read only the status
DEVICE_NAMES = ("id", "deviceid", "device_id")
INVALID = "valid: The phone says that it has no valid position."


def device_of(request: PhoneRequest) -> str:
    """What the app calls its device: here the token, or with ACCESS=open the person's id. May be empty."""
    if _is_json(request):
        return str((json_object(request.body) or {}).get("device_id") or "")
    return _device_in(_parameters_of(request))


def read(request: PhoneRequest, reading: Reading) -> None:
    """A message without a position, such as one with cells only, is answered and not stored."""
    if _is_json(request):
        _read_json(request, reading)
    else:
        _read_parameters(_parameters_of(request), reading)


def _is_json(request: PhoneRequest) -> bool:
    """Some clients send this Content-Type without a body."""
    return bool(request.body) and request.content_type.partition(";")[0].strip().lower() == "application/json"


def _parameters_of(request: PhoneRequest) -> dict[str, str]:
    return parameters(request.query or request.body)


def _device_in(given: dict[str, str]) -> str:
    return next((given[name] for name in DEVICE_NAMES if given.get(name)), "")


def _read_parameters(given: dict[str, str], reading: Reading) -> None:
    latitude, longitude = given.get("lat"), given.get("lon")
    if "location" in given:
        latitude, _, longitude = given["location"].partition(",")
    if latitude is None and longitude is None:
        return
    if given.get("valid", "true").lower() not in ("true", "1"):
        reading.refuse(_device_in(given), INVALID)
        return
    reading.add(
        _device_in(given),
        time=_or_now(given.get("timestamp")),
        latitude=latitude,
        longitude=longitude,
        accuracy=given.get("accuracy"),
        read_time=from_number_or_text,
    )


def _read_json(request: PhoneRequest, reading: Reading) -> None:
    message = json_object(request.body)
    if message is None:
        reading.refuse("", NO_OBJECT)
        return
    match message.get("location"):
        case {"coords": dict(coordinates), **rest}:
            reading.add(
                message.get("device_id"),
                time=_or_now(rest.get("timestamp")),
                latitude=coordinates.get("latitude"),
                longitude=coordinates.get("longitude"),
                accuracy=coordinates.get("accuracy"),
                read_time=from_number_or_text,
            )


def _or_now(time: Any) -> Any:
    """A position without a time is the current one."""
    return datetime.now(UTC).timestamp() if time is None else time
