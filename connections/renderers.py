"""Encounters as a map and as a table."""

import csv
import io
from typing import Any

import orjson

from connect.web.rest import RowRenderer

_PERSON = ("id", "first_name", "last_name", "company_name")
_MEETING = ("start", "end", "duration_s", "pings", "min_distance_m", "latitude", "longitude")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # with what a cell begins that spreadsheets compute


def _plain(value: Any) -> Any:
    """With a quote before text that a spreadsheet would compute. Numbers stay numbers."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


class GeoJson(RowRenderer):
    """A FeatureCollection: each encounter a point where the own ping was at its nearest."""

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
    """A table with a header; times in UTC, lengths in metres and seconds."""

    media_type = "text/csv"
    format = "csv"
    opening = (
        ",".join(f"person_{name}" if name == "id" else name for name in _PERSON + _MEETING) + "\r\n"
    ).encode()

    def encode(self, rows: list[dict[str, Any]]) -> bytes:
        text = io.StringIO()
        csv.writer(text).writerows(
            [_plain(row["person"][name]) for name in _PERSON] + [row[name] for name in _MEETING]
            for row in rows
        )
        return text.getvalue().encode()
