"""GPX: the track points. Waypoints and routes are plans, so they are ignored.

`hdop` is ignored, too: it is a dilution of precision, not an accuracy in metres.
"""

import codecs
import io
import re
from collections.abc import Iterator
from typing import Any

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser, ParseError

from connect.files import Source
from locations.formats import Item, Unreadable

UNIT = "point"
_CHUNK = 64 * 1024  # bytes parsed at a time
_MAX_DEPTH = 100
_MAX_TIME = 100  # characters of a time; a longer one is invalid
_ENCODING = re.compile(rb"""<\?xml[^>]{0,100}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")


def items(source: Source, *, person_id: int | None) -> Iterator[Item]:
    """The track points. Reads in bounded memory; the points before a fault in the file are yielded first."""
    if person_id is None:
        raise Unreadable("a GPX file does not say whose it is: give --person ID")
    points = _TrackPoints(person_id)
    parser = DefusedXMLParser(target=points, forbid_dtd=True)
    try:
        for text in _decoded(source):
            parser.feed(text)
            yield from points.take()
        if source.fault is None:
            parser.close()
    except DefusedXmlException:
        raise Unreadable("it declares a document type or entities, which no GPX needs: refused") from None
    except ParseError as fault:
        yield from points.take()
        raise Unreadable(f"it is not well-formed XML: {fault}") from None


def _decoded(source: Source) -> Iterator[str]:
    """The text of a file. The parser gets no bytes: it would apply codecs that are no text encodings."""
    data = source.read(_CHUNK)
    declared = _ENCODING.match(data.removeprefix(codecs.BOM_UTF8))
    encoding = declared[1].decode() if declared and not data.startswith(codecs.BOM_UTF8) else "utf-8-sig"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    line = 1
    try:
        io.TextIOWrapper(io.BytesIO(), encoding)  # a LookupError for a codec that is no text encoding
        decoder = codecs.getincrementaldecoder(encoding)()
        while data:
            yield decoder.decode(data)
            line += data.count(b"\n")
            data = source.read(_CHUNK)
        if source.fault is None:
            yield decoder.decode(b"", final=True)
    except UnicodeDecodeError as fault:
        line += data.count(b"\n", 0, fault.start)
        raise Unreadable(f"line {line} is not {encoding.upper()} text") from None
    except (LookupError, UnicodeError):  # such as "undefined", or a codec for host names only
        raise Unreadable(f"its encoding {encoding!r} is unknown or no encoding of texts") from None


class _TrackPoints:
    """A target of the parser that keeps only the points since the last `take`."""

    def __init__(self, person_id: int) -> None:
        self._person_id = person_id
        self._depth = 0
        self._count = 0
        self._fields: dict[str, Any] | None = None  # of the open point
        self._point_depth = 0
        self._time: str | None = None  # of the open time
        self._points: list[Item] = []

    def take(self) -> list[Item]:
        taken, self._points = self._points, []
        return taken

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition("}")[2]
        if not self._depth and name != "gpx":
            raise Unreadable("it is XML, but not GPX")
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise Unreadable(f"it is no GPX: elements are nested more than {_MAX_DEPTH} deep")
        if name == "trkpt" and self._fields is None:
            self._point_depth = self._depth
            self._fields = {"person_id": self._person_id}
            for field, attribute in (("latitude", "lat"), ("longitude", "lon")):
                if attribute in attributes:
                    self._fields[field] = attributes[attribute]
        elif name == "time" and self._fields is not None and self._depth == self._point_depth + 1:
            self._time = ""

    def data(self, text: str) -> None:
        if self._time is not None and len(self._time) <= _MAX_TIME:
            self._time += text

    def end(self, _tag: str) -> None:
        if self._fields is not None and self._time is not None:
            if self._time.strip():
                self._fields["creation_time"] = self._time.strip()
            self._time = None
        if self._fields is not None and self._depth == self._point_depth:
            self._count += 1
            self._points.append(Item(self._count, self._fields))
            self._fields = None
        self._depth -= 1

    def close(self) -> None:
        """The parser requires this method."""
