"""GPX: the track points. Waypoints and routes are plans, so they are ignored."""

import codecs
import re
from collections.abc import Iterator
from typing import Any

import gpxpy
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser, ParseError

from connect.files import Source
from locations.formats import Item, Unreadable

UNIT = "point"
SIZE_LIMIT = 32 * 1024 * 1024  # bytes unpacked, a week at one point per second; all of it is in memory
_DEPTH_LIMIT = 100
_ENCODING = re.compile(rb"""<\?xml[^>]{0,100}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")


def items(source: Source, *, person_id: int | None) -> Iterator[Item]:
    if person_id is None:
        raise Unreadable("a GPX file does not say whose it is: give --person ID")
    data = source.read(SIZE_LIMIT + 1)
    if len(data) > SIZE_LIMIT:
        raise Unreadable(
            f"a GPX file may have {SIZE_LIMIT // 2**20} MiB, unpacked; split it or make it a CSV"
        )
    if source.fault:
        return
    text = _decode(data)
    _check(text)
    try:
        track_points = gpxpy.parse(text).walk(only_points=True)
    except (gpxpy.gpx.GPXException, ValueError, TypeError, AttributeError) as fault:
        raise Unreadable(f"it is no valid GPX: {str(fault)[:200]}") from None
    for place, point in enumerate(track_points, 1):
        fields = {"person_id": person_id, "latitude": point.latitude, "longitude": point.longitude}
        if point.time is not None:
            try:
                fields["creation_time"] = point.time.isoformat()
            except ValueError:  # gpxpy accepts any digits as an offset from UTC
                yield Item(place, "creation_time: Must have an offset of less than 24 hours.")
                continue
        yield Item(place, fields)


def _decode(data: bytes) -> str:
    """Decodes a file once, so that the check and gpxpy read the same text."""
    declared = _ENCODING.match(data.removeprefix(codecs.BOM_UTF8))
    encoding = declared[1].decode() if declared and not data.startswith(codecs.BOM_UTF8) else "utf-8-sig"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as fault:
        line = data.count(b"\n", 0, fault.start) + 1
        raise Unreadable(f"line {line} is not {encoding.upper()} text") from None
    except (LookupError, UnicodeError):  # such as "undefined", or a codec for host names only
        raise Unreadable(f"its encoding {encoding!r} is unknown or no encoding of texts") from None


class _StructureCheck:
    """A parser target that builds nothing. It checks that the root is `gpx`, and the depth of elements."""

    def __init__(self) -> None:
        self._depth = 0

    def start(self, tag: str, _: Any) -> None:
        if not self._depth and tag.rpartition("}")[2] != "gpx":
            raise Unreadable("it is XML, but not GPX")
        self._depth += 1
        if self._depth > _DEPTH_LIMIT:
            raise Unreadable(f"it is no GPX: elements are nested more than {_DEPTH_LIMIT} deep")

    def end(self, _: str) -> None:
        self._depth -= 1

    def close(self) -> None:
        """The parser requires this method."""


def _check(text: str) -> None:
    parser = DefusedXMLParser(target=_StructureCheck(), forbid_dtd=True)
    try:
        parser.feed(text)
        parser.close()
    except DefusedXmlException:
        raise Unreadable("it declares a document type or entities, which no GPX needs: refused") from None
    except ParseError as fault:
        raise Unreadable(f"it is not well-formed XML: {fault}") from None
