"""`manage.py import_venue`."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from rest_framework.test import APIClient

from venue import storage
from venue.tests.shapes import collection, feature

pytestmark = pytest.mark.django_db

FAIR = {
    "name": "Fair",
    "time_zone": "Europe/Berlin",
    "first_day": "2026-05-11",
    "last_day": "2026-05-12",
}
BOW_TIE = [[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "venue.geojson"


def load(file: Path, content: Any) -> str:
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    out = StringIO()
    call_command("import_venue", str(file), stdout=out, skip_checks=True)
    return out.getvalue().strip()


def refused(file: Path, content: Any) -> tuple[int, str]:
    with pytest.raises(CommandError) as fault:
        load(file, content)
    return fault.value.returncode, str(fault.value)


def test_zones_and_event_are_replaced(file: Path, api: APIClient) -> None:
    assert load(file, collection(feature("A"), feature("B"), event=FAIR)) == "2 zones and the event Fair"
    assert [zone.name for zone in storage.zones()] == ["A", "B"]
    assert storage.event().name == "Fair"
    assert load(file, collection(feature("C"))) == "1 zones"
    assert [zone.name for zone in storage.zones()] == ["C"]
    assert storage.event().name == "Fair"
    assert load(file, api.get("/api/zones").content.decode()) == "1 zones"  # what the API gives


def test_a_file_of_qgis_is_read(file: Path) -> None:
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}
    text = "\ufeff" + json.dumps(collection(feature(company=None), name="zones", crs=crs))
    assert load(file, text) == "1 zones"
    crs["properties"]["name"] = "urn:ogc:def:crs:EPSG::25833"  # type: ignore[index]
    status, error = refused(file, collection(feature(), crs=crs))
    assert status == 1
    assert "crs: Export the file in WGS84 (EPSG:4326)." in error


def test_all_errors_are_named_and_nothing_changes(file: Path) -> None:
    load(file, collection(feature("A"), event=FAIR))
    status, error = refused(
        file,
        collection(
            feature("B"),
            feature("Main stage", rings=[BOW_TIE]),
            feature("C", "tent"),
            event=FAIR | {"name": "Other", "time_zone": "Mars", "colour": 1},
        ),
    )
    assert status == 1
    assert error.splitlines() == [
        f"{file}: nothing was changed.",
        "event: colour: Unknown field.",
        "Feature 2 (Main stage): its area is not valid: self-intersection at longitude and latitude 0.5 0.5.",
        "Feature 3 (C): its kind must be one of hall, stage, booth, food, entrance, other.",
    ]
    assert (
        "event: time_zone: Must be an IANA time zone"
        in refused(file, collection(event=FAIR | {"time_zone": "Mars"}))[1]
    )
    assert "event: Must be an object" in refused(file, collection(event=5))[1]
    assert [zone.name for zone in storage.zones()] == ["A"]
    assert storage.event().name == "Fair"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "no valid JSON"),
        ("[]", "no GeoJSON FeatureCollection"),
        ('{"type": "Topology"}', "type: Must be FeatureCollection."),
        (" " * (5 * 1024 * 1024 + 1), "larger than 5,242,880 bytes"),
    ],
)
def test_another_file_is_refused(file: Path, content: str, reason: str) -> None:
    status, error = refused(file, content)
    assert status == 1
    assert reason in error


def test_a_missing_file_is_another_error(file: Path) -> None:
    with pytest.raises(CommandError, match="No such file") as fault:
        call_command("import_venue", str(file), skip_checks=True)
    assert fault.value.returncode == 2
