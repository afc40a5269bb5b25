"""GeoJSON: a FeatureCollection of points with the properties person_id and creation_time."""

import codecs
import json
from collections.abc import Iterator
from typing import Any

from connect.files import Source
from locations.formats import Item, Unreadable

UNIT = "feature"
FEATURE_LIMIT = 1024 * 1024  # characters of one value, which is what stands in memory at once
VALUE_LIMIT = 1000  # characters of a property that is kept until its batch is judged
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
    """The features of every member with that name, which is an array; other members are passed over."""
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
    """Once before each item of an array or object, whose begin is read already, up to and with its end."""
    if text.next_character() != end:
        yield
        while text.next_character() != end:
            text.skip(",")
            yield
    text.skip(end)


class _Text:
    """JSON text, read value by value. Raises ValueError where it is none, Unreadable for a large value."""

    def __init__(self, source: Source):
        self._source = source
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        # NaN and 1e400 are floats that the rules refuse, so they cost their own feature only.
        self._json = json.JSONDecoder(parse_int=_number)
        self._text = ""
        self._place = 0
        self._ended = False

    def next_character(self) -> str:
        """The next one that is no white space, unread; empty at the end."""
        while True:
            while self._place < len(self._text):
                if (character := self._text[self._place]) not in _WHITESPACE:
                    return character
                self._place += 1
            if not self._read_on():
                return ""

    def skip(self, expected: str) -> None:
        found = self.next_character()
        if found != expected:
            raise ValueError(
                f"there is {found!r} instead of {expected!r}" if found else "the file ends too early"
            )
        self._place += 1

    def value(self) -> Any:
        """The next value. One that reaches to the end of what is read may go on, so more is read first."""
        self.next_character()
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._place)
            except json.JSONDecodeError as fault:
                if not self._read_on():
                    raise ValueError(fault.msg) from None
            else:
                if end < len(self._text) or not self._read_on():
                    self._place = end
                    return value

    def _read_on(self) -> bool:
        if self._ended:
            return False
        if len(self._text) - self._place > FEATURE_LIMIT:
            raise Unreadable(f"a feature is larger than {FEATURE_LIMIT // 2**20} MiB")
        # As much again as there is, so that reading one value again and again takes linear time.
        data = self._source.read(max(_CHUNK, len(self._text) - self._place))
        self._ended = not data
        self._text = self._text[self._place :] + self._decoder.decode(data, final=self._ended)
        self._place = 0
        return True


def _number(digits: str) -> int | float:
    """An integer; as a float where it is longer than any that the rules allow."""
    return int(digits) if len(digits) <= 40 else float(digits)


def _fields(feature: Any, default: dict[str, Any]) -> dict[str, Any] | str:
    match feature:
        case {"geometry": {"type": "Point", "coordinates": [longitude, latitude, *_]}, **rest}:
            properties = rest.get("properties")
            given = properties if isinstance(properties, dict) else {}
            mine = {name: given[name] for name in ("person_id", "creation_time") if name in given}
            fields = {**default, **mine, "latitude": latitude, "longitude": longitude}
            if all(map(_is_short, fields.values())):
                return fields
            return f"Its values must be numbers or texts of at most {VALUE_LIMIT:,} characters."
    return "Must be a feature whose geometry is a Point with longitude and latitude."


def _is_short(value: Any) -> bool:
    return not isinstance(value, list | dict) and (not isinstance(value, str) or len(value) <= VALUE_LIMIT)
