"""Overland for iOS: a batch of GeoJSON features.

Source: https://github.com/aaronpk/Overland-iOS#api
"""

from typing import Any

from phones.reading import NO_OBJECT, PhoneRequest, Reading, json_object

ANSWER = {"result": "ok"}  # the app deletes its batch after this answer only
NO_BATCH = "locations: Must be an array."
NO_POINT = "geometry: Must be a Point."


def read(request: PhoneRequest, reading: Reading) -> None:
    """`current` is the newest position again, and `trip` a summary: only `locations` are stored."""
    message = json_object(request.body)
    features = message.get("locations") if message is not None else None
    if isinstance(features, list):
        for feature in features:
            _read_feature(feature, reading)
    else:
        reading.refuse("", NO_OBJECT if message is None else NO_BATCH)


def _read_feature(feature: Any, reading: Reading) -> None:
    match feature:
        case {
            "geometry": {"type": "Point", "coordinates": [longitude, latitude, *_]},
            "properties": dict(known),
        }:
            reading.add(
                known.get("device_id"),
                time=known.get("timestamp"),
                latitude=latitude,
                longitude=longitude,
                accuracy=known.get("horizontal_accuracy"),
            )
        case {"properties": dict(known)}:
            reading.refuse(known.get("device_id"), NO_POINT)
        case _:
            reading.refuse("", NO_POINT)
