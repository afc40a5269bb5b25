"""GeoJSON: a FeatureCollection of points with the properties person_id and creation_time."""

import codecs
from collections.abc import Iterator
from typing import Any

import ijson

from connect.files import Source
from locations.formats import Item, Unreadable

UNIT = "feature"
FEATURE_LIMIT = 1024 * 1024  # bytes of one feature, which is what stands in memory at once


class _Bounded:
    """What ijson reads from: without a byte order mark, and an error when one feature does not end."""

    def __init__(self, source: Source):
        self._source = source
        self._since_feature = 0
        self.head = b""

    def read(self, size: int) -> bytes:
        data = self._source.read(size)
        if not self.head:
            data = self.head = data.removeprefix(codecs.BOM_UTF8)
        self._since_feature += len(data)
        if self._since_feature > FEATURE_LIMIT + size:
            raise Unreadable(f"a feature is larger than {FEATURE_LIMIT // 2**20} MiB")
        return data

    def next_feature(self) -> None:
        self._since_feature = 0


def items(source: Source, *, person_id: int | None) -> Iterator[Item]:
    default = {} if person_id is None else {"person_id": person_id}
    stream = _Bounded(source)
    place = 0
    try:
        for place, feature in enumerate(ijson.items(stream, "features.item", use_float=True), 1):
            stream.next_feature()
            yield Item(place, _fields(feature, default))
    except ijson.JSONError as fault:
        if not source.fault:
            reason = " ".join(str(fault).split())[:200]
            raise Unreadable(f"it is no valid JSON after feature {place}: {reason}") from None
    if not place and not source.fault and b'"features"' not in stream.head:
        raise Unreadable("it has no features: it must be a GeoJSON FeatureCollection of points")


def _fields(feature: Any, default: dict[str, Any]) -> dict[str, Any] | str:
    match feature:
        case {"geometry": {"type": "Point", "coordinates": [longitude, latitude, *_]}, **rest}:
            properties = rest.get("properties")
            given = properties if isinstance(properties, dict) else {}
            mine = {name: given[name] for name in ("person_id", "creation_time") if name in given}
            return {**default, **mine, "latitude": latitude, "longitude": longitude}
    return "Must be a feature whose geometry is a Point with longitude and latitude."
