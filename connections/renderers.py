"""Encounters as GeoJSON and as CSV."""

import csv
import io
from typing import Any

import orjson

from connect.web.rest import RowRenderer

_PERSON_FIELDS = ("id", "first_name", "last_name", "company_name")
_ENCOUNTER_FIELDS = ("start", "end", "duration_s", "pings", "min_distance_m", "latitude", "longitude")
_FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r", "\n")


def _escaped(value: Any) -> Any:
    """Prevents CSV injection: a quote before text that a spreadsheet would compute. Numbers stay numbers."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_PREFIXES) else value


class GeoJson(RowRenderer):
    """A FeatureCollection. Each encounter is a point: the own ping nearest to the other person."""

    media_type = "application/geo+json"
    format = "geojson"
    charset = None
    opening, separator, closing = b'{"type":"FeatureCollection","features":[', b",", b"]}"

    def encode(self, rows: list[dict[str, Any]]) -> bytes:
        return orjson.dumps([self._feature(row) for row in rows])[1:-1]

    @staticmethod
    def _feature(row: dict[str, Any]) -> dict[str, Any]:
        point = {"type": "Point", "coordinates": [float(row["longitude"]), float(row["latitude"])]}
        properties = {name: value for name, value in row.items() if name not in ("longitude", "latitude")}
        return {"type": "Feature", "geometry": point, "properties": properties}


class Csv(RowRenderer):
    """CSV with a header; times in UTC, distances in metres, durations in seconds."""

    media_type = "text/csv"
    format = "csv"
    opening = (
        ",".join(f"person_{name}" if name == "id" else name for name in _PERSON_FIELDS + _ENCOUNTER_FIELDS)
        + "\r\n"
    ).encode()

    def encode(self, rows: list[dict[str, Any]]) -> bytes:
        text = io.StringIO()
        csv.writer(text).writerows(
            [_escaped(row["person"][name]) for name in _PERSON_FIELDS]
            + [row[name] for name in _ENCOUNTER_FIELDS]
            for row in rows
        )
        return text.getvalue().encode()
