"""GPSLogger for Android, custom URL: fields that the user chooses, as JSON, in a form or in the query.

Source: https://gpslogger.app and CustomUrlManager.java of the app. docs/phones.md has our template.
"""

import re
from typing import Any

from phones.reading import NO_OBJECT, PhoneRequest, Reading, from_number_or_text, json_object, parameters

ANSWER = {"result": "ok"}  # the app reads only the status
# A template such as `"alt":%ALT` without a value gives `"alt":,`, which is no JSON.
_UNSET = re.compile(rb":\s*(?=[,}])")


def read(request: PhoneRequest, reading: Reading) -> None:
    """A position needs its time, because the app may send it hours later. Other `_type`s are no positions."""
    given = _fields_of(request)
    if given is None:
        reading.refuse(request.user, NO_OBJECT)
        return
    if given.get("_type", "location") != "location":
        return
    reading.add(
        request.user,
        time=_first(given, "tst", "timestamp", "time"),
        latitude=_first(given, "lat", "latitude"),
        longitude=_first(given, "lon", "longitude"),
        accuracy=_first(given, "acc", "accuracy"),
        read_time=from_number_or_text,
    )


def _fields_of(request: PhoneRequest) -> dict[str, Any] | None:
    """The fields from JSON, else from a form, else from the query: many templates send no Content-Type.

    None for JSON that cannot be read.
    """
    body = request.body.strip()
    if body.startswith((b"{", b"[")):
        fields = json_object(body)
        return json_object(_UNSET.sub(b":null", body)) if fields is None else fields
    return parameters(body) or parameters(request.query)


def _first(given: dict[str, Any], *names: str) -> Any:
    return next((given[name] for name in names if given.get(name) not in (None, "")), None)
