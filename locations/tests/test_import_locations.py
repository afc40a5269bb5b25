"""`manage.py import_locations` with valid, invalid and truncated files."""

import gzip
import json
import subprocess
import sys
import tracemalloc
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection

from connect.files import Source
from locations.formats import geojson, gpx
from locations.models import Location
from locations.pings import MAX_BATCH

pytestmark = pytest.mark.django_db

HEADER = "person_id,latitude,longitude,creation_time"
GPX = '<gpx version="1.1" creator="test" xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>{}</trkseg></trk></gpx>'
POINT = '<trkpt lat="1.5" lon="2.5"><time>2020-08-18T10:37:0{}Z</time></trkpt>'


@pytest.fixture(autouse=True)
def people(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO persons_person (id, first_name, last_name, company_name) "
            "SELECT id, 'First', 'Last', 'Company' FROM generate_series(5, 6) AS id"
        )


def import_files(*files: Path, **options: object) -> str:
    out = StringIO()
    call_command("import_locations", *map(str, files), stdout=out, stderr=out, skip_checks=True, **options)
    return out.getvalue()


def fails(*files: Path, status: int, **options: object) -> str:
    """The output of the command; it must fail with this exit status."""
    out = StringIO()
    with pytest.raises(CommandError) as error:
        call_command(
            "import_locations", *map(str, files), stdout=out, stderr=out, skip_checks=True, **options
        )
    assert error.value.returncode == status
    return f"{out.getvalue()}{error.value}"


def write_file(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def table(*rows: str) -> str:
    return "\n".join([HEADER, *rows, ""])


def seconds(count: int, person: int = 5) -> list[str]:
    """Valid rows, a second apart."""
    return [
        f"{person},1.5,2.5,2020-08-18T{10 + i // 3600:02}:{i // 60 % 60:02}:{i % 60:02}Z"
        for i in range(count)
    ]


# --- CSV -----------------------------------------------------------------------------------------


def test_a_csv_with_byte_order_mark_crlf_and_another_order(tmp_path: Path) -> None:
    text = (
        '\ufeffcreation_time,longitude,person_id,latitude\r\n"2020-08-18 10:37:06+02:00",2.5,5,"1.5"\r\n\r\n'
    )
    file = write_file(tmp_path, "walk.csv", text)
    assert import_files(file) == f"{file}: 1 read, 1 stored, 0 repeats, 0 refused\n"
    location = Location.objects.get()
    assert (location.person_id, location.latitude, location.longitude) == (5, 1.5, 2.5)
    assert location.creation_time == datetime(2020, 8, 18, 8, 37, 6, tzinfo=UTC)


def test_a_csv_may_have_the_accuracy(tmp_path: Path) -> None:
    rows = [
        "3.3,5,1.5,2.5,2020-08-18T10:37:06Z",
        ",5,1.5,2.5,2020-08-18T10:37:07Z",
        "0,5,1.5,2.5,2020-08-18T10:37:08Z",
    ]
    file = write_file(tmp_path, "walk.csv", "\n".join([f"accuracy,{HEADER}", *rows, ""]))
    assert "1 refused: accuracy: Must be a number, more than 0 and at most 100000.; line 4" in fails(
        file, status=1
    )
    assert list(Location.objects.values_list("accuracy", flat=True)) == [3.3, None]


@pytest.mark.parametrize(
    "header",
    [
        "person_id,latitude,longitude",
        "person_id,latitude,longitude,creation_time,altitude",
        "person_id;latitude;longitude;creation_time",
        "",
    ],
)
def test_a_missing_or_unknown_column_is_an_error_and_nothing_is_stored(tmp_path: Path, header: str) -> None:
    file = write_file(tmp_path, "walk.csv", f"{header}\n5,1.5,2.5,2020-08-18T10:37:06Z,7\n")
    assert "line 1 must name the columns person_id, latitude" in fails(file, status=2)
    assert not Location.objects.exists()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("5,91,2.5,2020-08-18T10:37:06Z", "latitude: Must be a number from -90 to 90."),
        ("5,1.5,-181,2020-08-18T10:37:06Z", "longitude: Must be a number from -180 to 180."),
        ("5,nan,2.5,2020-08-18T10:37:06Z", "latitude: Must be a number from -90 to 90."),
        ("5,,2.5,2020-08-18T10:37:06Z", "latitude: This field is required."),
        ("5,1.5,2.5,", "creation_time: This field is required."),
        ("5,1.5,2.5,2020-02-30T10:37:06Z", "creation_time: Must be an existing date and time"),
        ("x,1.5,2.5,2020-08-18T10:37:06Z", "person_id: Must be the integer id of a person."),
        ("5,1.5,2.5", "The line must have 4 cells."),
        ('5,"1.5,2.5,2020-08-18T10:37:06Z', "The line must have 4 cells."),
        (f"{2**63},1.5,2.5,2020-08-18T10:37:06Z", "person_id: There is no such person."),
        ("5,1.5,2.5,2020-08-18T10:37:06Z" + "0" * 100_000, "creation_time: Must be ISO 8601"),
    ],
)
def test_one_invalid_row_is_refused_with_its_line_and_all_others_are_stored(
    tmp_path: Path, row: str, reason: str
) -> None:
    rows = seconds(20)
    rows.insert(15, row)
    output = fails(write_file(tmp_path, "walk.csv", table(*rows)), status=1)
    assert "21 read, 20 stored, 0 repeats, 1 refused" in output
    assert f"1 refused: {reason}" in output
    assert "line 17" in output


def test_the_lines_of_the_second_batch_go_on_from_the_first(tmp_path: Path) -> None:
    rows = seconds(MAX_BATCH + 10)
    rows.insert(MAX_BATCH + 5, "5,91,2.5,2020-08-18T10:37:06Z")
    output = fails(write_file(tmp_path, "walk.csv", table(*rows)), status=1)
    assert f"{MAX_BATCH + 11:,} read, {MAX_BATCH + 10:,} stored, 0 repeats, 1 refused" in output
    assert "1 refused: latitude" in output
    assert f"line {MAX_BATCH + 7}" in output


def test_invalid_utf_8_spoils_only_its_own_row(tmp_path: Path) -> None:
    text = table(*seconds(2), "5,1.5\xe9,2.5,2020-08-18T10:37:06Z").encode("latin-1")
    output = fails(write_file(tmp_path, "walk.csv", text), status=1)
    assert "3 read, 2 stored" in output
    assert "line 4" in output


def test_a_csv_in_utf_16_is_a_clear_error(tmp_path: Path) -> None:
    output = fails(write_file(tmp_path, "walk.csv", table(*seconds(2)).encode("utf-16")), status=2)
    assert "line 1 must name the columns" in output


def test_unknown_people_are_counted_and_named(tmp_path: Path) -> None:
    output = fails(write_file(tmp_path, "walk.csv", table(*seconds(20), *seconds(20, person=99))), status=1)
    assert "40 read, 20 stored, 0 repeats, 20 refused" in output
    assert (
        "20 refused: person_id: There is no such person.; line 22 (person 99), line 23 (person 99)" in output
    )


def test_a_second_import_of_a_file_stores_nothing_twice(tmp_path: Path) -> None:
    file = write_file(tmp_path, "walk.csv", table(*seconds(20), *seconds(5)))
    assert "25 read, 20 stored, 5 repeats, 0 refused" in import_files(file)
    assert "25 read, 0 stored, 25 repeats, 0 refused" in import_files(file)


def test_a_column_of_persons_can_be_left_out_for_one_person(tmp_path: Path) -> None:
    file = write_file(
        tmp_path, "walk.csv", "latitude,longitude,creation_time\n1.5,2.5,2020-08-18T10:37:06Z\n"
    )
    assert "1 read, 1 stored" in import_files(file, person=6)
    assert Location.objects.get().person_id == 6


def test_rows_before_a_gzip_truncation_are_stored_and_the_import_can_be_repeated(tmp_path: Path) -> None:
    whole = gzip.compress(
        table(*(f"{row[:-1]}.{i * 7919 % 997:03}Z" for i, row in enumerate(seconds(9000)))).encode()
    )
    file = write_file(tmp_path, "walk.csv.gz", whole[: len(whole) // 2])
    assert "the gzip file is truncated" in fails(file, status=2)
    before = Location.objects.count()
    assert 1000 < before < 9000
    file.write_bytes(whole)
    assert f"9,000 read, {9000 - before:,} stored, {before:,} repeats, 0 refused" in import_files(file)


def test_gzip_is_detected_by_content_not_by_name(tmp_path: Path) -> None:
    packed = write_file(tmp_path, "packed.csv", gzip.compress(table(*seconds(3)).encode()))
    plain = write_file(tmp_path, "plain.csv.gz", table(*seconds(4)))
    output = import_files(packed, plain)
    assert "3 read, 3 stored" in output
    assert "2 files: 7 read, 4 stored, 3 repeats, 0 refused" in output


# --- GPX -----------------------------------------------------------------------------------------


def test_track_points_of_a_gpx_are_stored_except_those_without_a_time(tmp_path: Path) -> None:
    points = POINT.format(1) + '<trkpt lat="1" lon="2"/>' + POINT.format(2) + '<trkpt lat="1" lon="2"/>'
    output = fails(write_file(tmp_path, "walk.gpx", GPX.format(points)), status=1, person=5)
    assert "4 read, 2 stored, 0 repeats, 2 refused" in output
    assert "2 refused: creation_time: This field is required.; point 2, point 4" in output


def test_a_gpx_needs_a_person(tmp_path: Path) -> None:
    assert "give --person ID" in fails(
        write_file(tmp_path, "walk.gpx", GPX.format(POINT.format(1))), status=2
    )


def test_a_gpx_in_another_encoding_that_it_declares(tmp_path: Path) -> None:
    text = '<?xml version="1.0" encoding="ISO-8859-1"?><!-- Café -->' + GPX.format(POINT.format(1))
    assert "1 read, 1 stored" in import_files(
        write_file(tmp_path, "walk.gpx", text.encode("latin-1")), person=5
    )


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE gpx [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefghi", "bcdefghij", strict=True))
    + "]><gpx><name>&j;</name></gpx>"
)
EXTERNAL = '<!DOCTYPE gpx [<!ENTITY e SYSTEM "file:///etc/passwd">]><gpx><name>&e;</name></gpx>'


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (BOMB, "declares a document type or entities"),
        (EXTERNAL, "declares a document type or entities"),
        (BOMB.encode("utf-16"), "declares a document type or entities"),
        ("", "not well-formed XML"),
        ("<html/>", "it is XML, but not GPX"),
        (f"<gpx>{'<a>' * 200_000}", "nested more than 100 deep"),
        ("<gpx>\n<name>Caf\xe9</name></gpx>".encode("latin-1"), "line 2 is not UTF-8"),
        *(
            (f'<?xml version="1.0" encoding="{name}"?><gpx/>', f"encoding '{name}' is unknown")
            for name in ("klingon", "zlib", "hex", "undefined", "punycode")
        ),
    ],
)
def test_an_invalid_gpx_is_a_clear_error(tmp_path: Path, content: str | bytes, reason: str) -> None:
    assert reason in fails(write_file(tmp_path, "walk.gpx", content), status=2, person=5)
    assert not Location.objects.exists()


@pytest.mark.parametrize("offset", ["+99:99", "-99:99", "+24:00", "-24:00"])
def test_a_point_with_an_impossible_offset_is_refused_and_the_others_are_stored(
    tmp_path: Path, offset: str
) -> None:
    bad = f'<trkpt lat="1.5" lon="2.5"><time>2020-08-18T10:37:06{offset}</time></trkpt>'
    output = fails(
        write_file(tmp_path, "walk.gpx", GPX.format(POINT.format(1) + bad + POINT.format(2))),
        status=1,
        person=5,
    )
    assert "3 read, 2 stored, 0 repeats, 1 refused" in output
    assert "1 refused: creation_time: Must be " in output


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (
            '<trkpt lat="north" lon="2"><time>2020-08-18T10:37:06Z</time></trkpt>',
            "latitude: Must be a number",
        ),
        ('<trkpt lon="2"><time>2020-08-18T10:37:06Z</time></trkpt>', "latitude: This field is required."),
        ('<trkpt lat="1" lon="2"><time>noon</time></trkpt>', "creation_time: Must be ISO 8601"),
        ('<trkpt lat="1" lon="2"><time/></trkpt>', "creation_time: This field is required."),
    ],
)
def test_a_bad_point_of_a_gpx_is_refused_and_the_others_are_stored(
    tmp_path: Path, bad: str, reason: str
) -> None:
    odd = '<trkpt lat="1" lon="2"><ele>abc</ele><time>2020-08-18T10:38:00Z</time><extensions><time>x</time>'
    points = POINT.format(1) + bad + f"{odd}</extensions></trkpt>" + POINT.format(2)
    output = fails(write_file(tmp_path, "walk.gpx", GPX.format(points)), status=1, person=5)
    assert "4 read, 3 stored, 0 repeats, 1 refused" in output
    assert f"1 refused: {reason}" in output


def test_the_points_before_a_fault_of_a_gpx_are_stored(tmp_path: Path) -> None:
    file = write_file(tmp_path, "walk.gpx", GPX.format(POINT.format(1))[:-9])
    assert "not well-formed XML" in fails(file, status=2, person=5)
    assert Location.objects.count() == 1


@pytest.mark.parametrize("element", ["<trk/>", "<wpt/>", "<trk><trkseg><trkpt/></trkseg></trk>"])
def test_a_large_gpx_is_read_in_bounded_memory(tmp_path: Path, element: str) -> None:
    content = f"<gpx>{element * (8 * 1024 * 1024 // len(element))}</gpx>".encode()
    file = write_file(tmp_path, "walk.gpx.gz", gzip.compress(content, compresslevel=1))
    tracemalloc.start()
    try:
        with Source(file) as source:
            for _ in gpx.items(source, person_id=5):
                pass
        assert tracemalloc.get_traced_memory()[1] < len(content) / 2
    finally:
        tracemalloc.stop()


# --- GeoJSON -------------------------------------------------------------------------------------


def feature(second: int, **changes: object) -> dict[str, object]:
    properties = {"person_id": 5, "creation_time": f"2020-08-18T10:37:{second:02}Z", "colour": "red"}
    point = {"type": "Point", "coordinates": [2.5, 1.5, 300]}
    return {"type": "Feature", "geometry": point, "properties": properties} | changes


def collection(*features: object) -> str:
    return json.dumps({"type": "FeatureCollection", "features": features})


def test_points_of_a_geojson_are_stored(tmp_path: Path) -> None:
    features = [
        feature(1),
        feature(2, geometry=None),
        feature(3, geometry={"type": "LineString", "coordinates": [[1, 2], [3, 4]]}),
        feature(4, properties=None),
        "feature",
        feature(5),
    ]
    output = fails(write_file(tmp_path, "walk.geojson", "\ufeff" + collection(*features)), status=1)
    assert "6 read, 2 stored, 0 repeats, 4 refused" in output
    assert "3 refused: Must be a feature whose geometry is a Point" in output
    assert "; feature 2, feature 3, feature 5" in output
    location = Location.objects.earliest("creation_time")
    assert (location.latitude, location.longitude) == (1.5, 2.5)


def test_a_geojson_may_have_the_accuracy(tmp_path: Path) -> None:
    features = [
        feature(
            n, properties={"person_id": 5, "creation_time": f"2020-08-18T10:37:{n:02}Z", "accuracy": accuracy}
        )
        for n, accuracy in enumerate([3.3, None, "12.5"])
    ]
    import_files(write_file(tmp_path, "walk.geojson", collection(*features)))
    assert list(Location.objects.values_list("accuracy", flat=True)) == [3.3, None, 12.5]


def test_a_geojson_of_one_person(tmp_path: Path) -> None:
    without = feature(1, properties={"creation_time": "2020-08-18T10:37:01Z"})
    assert "2 read, 2 stored" in import_files(
        write_file(tmp_path, "a.json", collection(without, feature(2))), person=6
    )
    assert sorted(Location.objects.values_list("person_id", flat=True)) == [5, 6]


def test_features_before_a_truncation_are_stored(tmp_path: Path) -> None:
    whole = collection(*(feature(i % 60, id=i) for i in range(5000)))
    output = fails(write_file(tmp_path, "walk.geojson", whole[: len(whole) * 3 // 4]), status=2)
    assert "no valid JSON after feature" in output
    assert Location.objects.count() == 60
    packed = gzip.compress(whole.encode())
    output = fails(write_file(tmp_path, "walk.geojson.gz", packed[: len(packed) // 2]), status=2)
    assert "the gzip file is truncated" in output


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no valid JSON"),
        ("[1, 2]", "must be a GeoJSON FeatureCollection"),
        ("5", "must be a GeoJSON FeatureCollection"),
        ("{}", "must be a GeoJSON FeatureCollection"),
        ('{"type": "FeatureCollection"}', "must be a GeoJSON FeatureCollection"),
        ('{"features": {}}', "must be a GeoJSON FeatureCollection"),
        ('{"features": null}', "must be a GeoJSON FeatureCollection"),
        ('{"features": [], 5: 6}', "no valid JSON after feature 0"),
        ('{"features": []', "no valid JSON after feature 0: the file ends too early"),
        ('{"features": [1,]}', "no valid JSON after feature 1"),
        ('{"features": []} x', "no valid JSON after feature 0: 'x' follows the end"),
        (b'{"features": ["\xe9"]}', "no valid JSON after feature 0"),
        ('{"features": ["' + " " * (2 * geojson.FEATURE_LIMIT), "a feature is larger than 1 MiB"),
        ("[" * 20_000, "nested too deeply"),
        ('{"features": [' + "[" * 1_200_000, "nested too deeply"),
        ('{"features": [' + "[" * 600_000 + "]" * 600_000 + "]}", "nested too deeply"),
        ('{"a":' * 200_000, "nested too deeply"),
        ('{"features": [' + '{"a":' * 200_000, "nested too deeply"),
    ],
    ids=lambda value: repr(value[:30]),
)
def test_an_invalid_geojson_is_a_clear_error(tmp_path: Path, content: str | bytes, reason: str) -> None:
    assert reason in fails(write_file(tmp_path, "walk.geojson", content), status=2)


@pytest.mark.parametrize("name", ["nested", "wide", "long"])
def test_a_hostile_geojson_takes_little_memory(tmp_path: Path, name: str) -> None:
    """Measured in a separate process. A parser that reads nested arrays whole takes gigabytes."""
    point = '{"geometry": {"type": "Point", "coordinates": [%s, 1.5]}, "properties": {"person_id": "%s"}}'
    content = {
        "nested": '{"features": [' + "[" * 4_000_000,
        "wide": '{"features": [' + ",".join([point % ("[" + "[]," * 80_000 + "1]", 5)] * 40) + "]}",
        "long": '{"features": [' + ",".join([point % (2.5, "5" * 1_000_000)] * 150) + "]}",
    }[name]
    file = write_file(tmp_path, "walk.geojson.gz", gzip.compress(content.encode(), compresslevel=1))
    measured = (
        "import collections, resource, sys; from pathlib import Path; from connect.files import Source; "
        "from locations.formats import Unreadable, geojson\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n"
        "  with Source(Path(sys.argv[1])) as source: kept = list(geojson.items(source, person_id=None))\n"
        "except Unreadable: pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    command = [sys.executable, "-c", measured, str(file)]
    grown_kb = int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    assert grown_kb < 60 * 1024


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 5000, "1." + "9" * 5000 + "e9", "NaN", "[[5]]"])
def test_a_number_out_of_bounds_spoils_only_its_own_feature(tmp_path: Path, number: str) -> None:
    text = collection(
        feature(1), feature(2, geometry={"type": "Point", "coordinates": ["HERE", 1.5]}), feature(3)
    )
    output = fails(write_file(tmp_path, "walk.geojson", text.replace('"HERE"', number)), status=1)
    assert "3 read, 2 stored, 0 repeats, 1 refused" in output
    assert "feature 2" in output


def test_other_members_before_and_after_the_features_are_skipped(tmp_path: Path) -> None:
    text = json.dumps(
        {"name": "[", "bbox": [1, 2], "features": [feature(1)], "crs": {"features": [1]}}, indent=9
    )
    assert "1 read, 1 stored, 0 repeats, 0 refused" in import_files(
        write_file(tmp_path, "walk.geojson", text)
    )
    assert "0 read, 0 stored" in import_files(write_file(tmp_path, "empty.geojson", collection()))


@pytest.mark.parametrize("size", [1, 7, 64 * 1024])
def test_the_chunk_size_does_not_change_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(geojson, "_CHUNK", size)
    whole = collection(*(feature(i, id=i, name='é\\"]}') for i in range(60)), 12345)
    file = write_file(tmp_path, "walk.geojson", whole)
    with Source(file) as source:
        read = list(geojson.items(source, person_id=None))
    assert [item.fields["creation_time"][-3:-1] for item in read[:-1]] == [f"{i:02}" for i in range(60)]
    assert isinstance(read[-1].fields, str)


# --- the command ---------------------------------------------------------------------------------


def test_an_unknown_or_missing_file_does_not_stop_the_others(tmp_path: Path) -> None:
    good = write_file(tmp_path, "good.csv", table(*seconds(2)))
    output = fails(write_file(tmp_path, "walk.kml", "<kml/>"), tmp_path / "none.csv", good, status=2)
    assert "its name must end in .csv, .gpx, .geojson, .json" in output
    assert "No such file" in output
    assert "2 read, 2 stored" in output


def test_the_to_option_sets_the_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "PINGS_URL", "elsewhere://host")
    file = write_file(tmp_path, "good.csv", table(*seconds(2)))
    assert "2 read, 2 stored" in import_files(file, to="database")
    assert settings.PINGS_URL == "elsewhere://host"
