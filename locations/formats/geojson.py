"""GeoJSON: a FeatureCollection of points; the other fields of a ping are properties."""

import codecs
import json
from collections.abc import Iterator
from typing import Any

from connect.files import Source
from locations.formats import Item, Unreadable
from locations.pings import FIELDS

UNIT = "feature"
FEATURE_LIMIT = 1024 * 1024  # characters of one value; bounds the memory, since values are read one by one
VALUE_LIMIT = 1000  # characters of a property; properties stay in memory until their batch is validated
_CHUNK = 64 * 1024
_WHITESPACE = " \t\r\n"


def items(source: Source, *, person_id: int | None) -> Iterator[Item]:
    default = {} if person_id is None else {"person_id": person_id}
    text = _Text(source)
    place = 0
    try:
        for place, feature in enumerate(_features(text), 1):
            yield Item(place, _fields(feature, default))
    except RecursionError:
        raise Unreadable(f"after feature {place} values are nested too deeply") from None
    except ValueError as fault:
        if not source.fault:
            reason = " ".join(str(fault).split())[:200]
            raise Unreadable(f"it is no valid JSON after feature {place}: {reason}") from None


def _features(text: "_Text") -> Iterator[Any]:
    """The items of each member `features`, which must be an array. Other members are skipped."""
    found = False
    if text.next_character() == "{":
        text.skip("{")
        for _ in _separated(text, "}"):
            name = text.value()
            if not isinstance(name, str):
                raise ValueError(f"{name!r} is no name of a member")
            text.skip(":")
            if name != "features":
                text.value()
                continue
            found = text.next_character() == "["
            if not found:
                break
            text.skip("[")
            for _ in _separated(text, "]"):
                yield text.value()
    else:
        text.value()
    if not found:
        raise Unreadable("it has no features: it must be a GeoJSON FeatureCollection of points")
    if rest := text.next_character():
        raise ValueError(f"{rest!r} follows the end")


def _separated(text: "_Text", end: str) -> Iterator[None]:
    """Yields before each item of an array or object. Reads the separators and `end`, not the opening."""
    if text.next_character() != end:
        yield
        while text.next_character() != end:
            text.skip(",")
            yield
    text.skip(end)


class _Text:
    """JSON text, read value by value. Raises ValueError if it is invalid, Unreadable for a large value."""

    def __init__(self, source: Source):
        self._source = source
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        # NaN and 1e400 become floats. Validation refuses them, so only their own feature is lost.
        self._json = json.JSONDecoder(parse_int=_number)
        self._text = ""
        self._place = 0
        self._ended = False

    def next_character(self) -> str:
        """The next character after white space, without consuming it; empty at the end."""
        while True:
            while self._place < len(self._text):
                if (character := self._text[self._place]) not in _WHITESPACE:
                    return character
                self._place += 1
            if not self._read_more():
                return ""

    def skip(self, expected: str) -> None:
        found = self.next_character()
        if found != expected:
            raise ValueError(
                f"there is {found!r} instead of {expected!r}" if found else "the file ends too early"
            )
        self._place += 1

    def value(self) -> Any:
        """The next value. If it reaches the end of the buffer, it may be longer, so more is read first."""
        self.next_character()
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._place)
            except json.JSONDecodeError as fault:
                if not self._read_more():
                    raise ValueError(fault.msg) from None
            else:
                if end < len(self._text) or not self._read_more():
                    self._place = end
                    return value

    def _read_more(self) -> bool:
        if self._ended:
            return False
        if len(self._text) - self._place > FEATURE_LIMIT:
            raise Unreadable(f"a feature is larger than {FEATURE_LIMIT // 2**20} MiB")
        # The buffer doubles, so that parsing one value again after each read takes linear time in all.
        data = self._source.read(max(_CHUNK, len(self._text) - self._place))
        self._ended = not data
        self._text = self._text[self._place :] + self._decoder.decode(data, final=self._ended)
        self._place = 0
        return True


def _number(digits: str) -> int | float:
    """An integer, or a float if it is longer than any valid one."""
    return int(digits) if len(digits) <= 40 else float(digits)


def _fields(feature: Any, default: dict[str, Any]) -> dict[str, Any] | str:
    match feature:
        case {"geometry": {"type": "Point", "coordinates": [longitude, latitude, *_]}, **rest}:
            properties = rest.get("properties")
            given = properties if isinstance(properties, dict) else {}
            known = {name: given[name] for name in FIELDS if name in given}
            fields = {**default, **known, "latitude": latitude, "longitude": longitude}
            if all(map(_is_short, fields.values())):
                return fields
            return f"Its values must be numbers or texts of at most {VALUE_LIMIT:,} characters."
    return "Must be a feature whose geometry is a Point with longitude and latitude."


def _is_short(value: Any) -> bool:
    return not isinstance(value, list | dict) and (not isinstance(value, str) or len(value) <= VALUE_LIMIT)
