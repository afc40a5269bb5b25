"""`manage.py import_venue`: replaces the zones, and optionally the event, from a GeoJSON file."""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError

from venue import geojson, storage
from venue.limits import MAX_FILE_BYTES
from venue.models import Kind
from venue.serializers import EventSerializer

_EPILOG = f"""
The file is a GeoJSON FeatureCollection in WGS84 degrees. Each feature is a Polygon with the properties
  name      1 to 255 characters
  kind      {", ".join(Kind.values)}
  company   the company of a booth; optional
  id        an integer; optional; a zone without one gets the number after the highest
The zones of the file replace all stored zones. The file may have a member `event`, which replaces the event:
  "event": {{"name": "Spring Fair", "time_zone": "Europe/Berlin",
            "first_day": "2026-05-11", "last_day": "2026-05-12"}}

exit status: 0 everything is stored; 1 the file has errors, and nothing was changed; 2 the file is not
readable, or the database is unreachable
"""
_WGS84 = ("urn:ogc:def:crs:OGC:1.3:CRS84", "urn:ogc:def:crs:EPSG::4326", "EPSG:4326")


class Command(BaseCommand):
    help = "Replaces the zones of the venue, and optionally the event, from a GeoJSON file."

    def create_parser(self, *args: Any, **kwargs: Any) -> Any:
        return super().create_parser(
            *args, **kwargs, epilog=_EPILOG, formatter_class=RawDescriptionHelpFormatter
        )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE.geojson", type=Path)

    def handle(self, *, file: Path, **_: Any) -> None:
        event, zones = _parse(file)
        try:
            storage.replace(event=event, zones=zones)
        except (OperationalError, InterfaceError) as fault:
            raise CommandError(f"Cannot reach the database: {fault}", returncode=2) from None
        self.stdout.write(f"{len(zones):,} zones" + (f" and the event {event.name}" if event else ""))


def _parse(file: Path) -> tuple[storage.Event | None, list[geojson.Zone]]:
    """The event of a file, if it has one, and its zones. Raises CommandError with all errors."""
    data = _read(file)
    errors: list[str] = []
    event = None
    if "event" in data:
        is_object = isinstance(data["event"], Mapping)
        serializer = EventSerializer(data=data["event"] if is_object else {})
        if serializer.is_valid():
            event = storage.Event(**serializer.validated_data)
        else:
            faults = serializer.errors if is_object else {"non_field_errors": ["Must be an object."]}
            errors += [f"event: {error}" for error in _lines(faults)]
    crs = data.get("crs")
    if crs is not None and not (isinstance(crs, Mapping) and _name(crs) in _WGS84):
        errors.append("crs: Export the file in WGS84 (EPSG:4326).")
    # QGIS writes `name` and `crs`.
    members = {name: value for name, value in data.items() if name not in ("event", "name", "crs")}
    zones: list[geojson.Zone] = []
    try:
        zones = geojson.parse_collection(members)
    except geojson.InvalidZones as fault:
        errors += _lines(fault.errors)
    if errors:
        raise CommandError("\n".join([f"{file}: nothing was changed.", *errors]), returncode=1)
    return event, zones


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_FILE_BYTES + 1)
    except OSError as fault:
        raise CommandError(f"{file}: {fault.strerror}.", returncode=2) from None
    if len(content) > MAX_FILE_BYTES:
        raise CommandError(
            f"{file}: the file is larger than {MAX_FILE_BYTES:,} bytes; nothing was changed.", returncode=1
        )
    try:
        data = orjson.loads(content.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as fault:
        raise CommandError(f"{file}: no valid JSON: {fault}; nothing was changed.", returncode=1) from None
    if not isinstance(data, dict):
        raise CommandError(f"{file}: no GeoJSON FeatureCollection; nothing was changed.", returncode=1)
    return data


def _name(crs: Mapping[str, Any]) -> Any:
    properties = crs.get("properties")
    return properties.get("name") if isinstance(properties, Mapping) else None


def _lines(errors: Mapping[str, Any]) -> Iterator[str]:
    for name, texts in errors.items():
        for text in texts:
            yield str(text) if name in ("features", "non_field_errors") else f"{name}: {text}"
