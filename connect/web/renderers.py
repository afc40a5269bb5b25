"""Rows with a position as GeoJSON, rows as CSV, and the views that offer such formats."""

import csv
import io
from collections.abc import Sequence
from typing import Any

import orjson
from drf_spectacular.utils import OpenApiExample, OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from connect.web.rest import JsonRenderer, RowRenderer

PERSON_FIELDS = ("id", "first_name", "last_name", "company_name")
_FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r", "\n")


def _escaped(value: Any) -> Any:
    """Prevents CSV injection: a quote before text that a spreadsheet would compute. Numbers stay numbers."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_PREFIXES) else value


class GeoJson(RowRenderer):
    """A FeatureCollection. Each row is a point; its other fields are the properties."""

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
    """CSV with a header; a subclass has the columns of people and the fields of a row.

    Names are escaped, because people choose them.
    """

    media_type = "text/csv"
    format = "csv"
    person_columns: Sequence[str]
    fields: Sequence[str]

    def __init_subclass__(cls) -> None:
        cls.opening = (",".join([*cls.person_columns, *cls.fields]) + "\r\n").encode()

    def people(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        """The people of a row, in the order of the columns."""
        raise NotImplementedError

    def encode(self, rows: list[dict[str, Any]]) -> bytes:
        text = io.StringIO()
        csv.writer(text).writerows(
            [_escaped(person[name]) for person in self.people(row) for name in PERSON_FIELDS]
            + [row[name] for name in self.fields]
            for row in rows
        )
        return text.getvalue().encode()


class FormatsView(APIView):
    """A view with other formats than JSON. It describes itself as JSON or a page in answer to OPTIONS."""

    def options(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # type: ignore[override]
        if isinstance(request.accepted_renderer, RowRenderer):
            request.accepted_renderer, request.accepted_media_type = JsonRenderer(), JsonRenderer.media_type
        return super().options(request, *args, **kwargs)


def format_parameter(*formats: str) -> OpenApiParameter:
    """The query parameter `format`; the first format is the default, the last one an example."""
    examples = [OpenApiExample(f"as {name.upper()}", value=name) for name in (formats[0], formats[-1])]
    return OpenApiParameter(
        "format",
        str,
        enum=formats,
        description="The format of the answer, for clients that cannot send `Accept`; default JSON.",
        examples=examples,
    )


FEATURES = {
    "type": "object",
    "description": "A FeatureCollection of Points.",
    "properties": {
        "type": {"type": "string", "enum": ["FeatureCollection"]},
        "features": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["type", "features"],
}
