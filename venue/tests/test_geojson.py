"""Zones as GeoJSON: what is accepted, what is refused and why, and the way through the database and back."""

from typing import Any

import orjson
import pytest
from django.contrib.gis.geos import Polygon
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from venue import storage
from venue.geojson import InvalidZones, collection, parse_collection
from venue.limits import MAX_ID, MAX_POINTS, MAX_ZONES
from venue.models import Kind
from venue.tests import shapes
from venue.tests.shapes import feature, square

BOW_TIE = [[13.4, 52.5], [13.5, 52.6], [13.5, 52.5], [13.4, 52.6], [13.4, 52.5]]
LARGEST_RING = [[13.0, 52.0], *([13.0 + step / 1e4, 52.1] for step in range(MAX_POINTS - 2)), [13.0, 52.0]]


def errors(*features: Any) -> list[str]:
    with pytest.raises(InvalidZones) as fault:
        parse_collection(shapes.collection(*features))
    return fault.value.errors["features"]


def test_a_collection_becomes_zones() -> None:
    hole = square(13.4002, 52.5002, 0.0002)
    parsed = parse_collection(
        shapes.collection(
            feature(rings=[square(), hole]), feature("  Booth 7 ", "booth", company=" Acme ", id=None)
        )
    )
    assert [zone.properties for zone in parsed] == [
        {"id": 1, "name": "Hall 1", "kind": "hall", "company": None},
        {"id": 2, "name": "Booth 7", "kind": "booth", "company": "Acme"},
    ]
    assert parsed[0].area.num_interior_rings == 1
    assert parsed[0].area.srid == 4326


def test_zones_keep_their_ids_and_others_get_the_numbers_after_the_highest() -> None:
    parsed = parse_collection(shapes.collection(feature(), feature(id=7), feature(), feature(id=3)))
    assert [zone.id for zone in parsed] == [8, 7, 9, 3]


def test_a_number_after_the_highest_id_is_refused() -> None:
    assert parse_collection(shapes.collection(feature(id=MAX_ID - 1), feature()))[1].id == MAX_ID
    [error] = errors(feature(id=MAX_ID), feature())
    assert error == "A feature without an id would get 2,147,483,648; ids go to 2,147,483,647. Give it an id."


def test_an_altitude_is_ignored() -> None:
    [zone] = parse_collection(shapes.collection(feature(rings=[[[*point, 34.5] for point in square()]])))
    assert zone.area.coords == (tuple(map(tuple, square())),)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (5, "it must be an object of the type Feature"),
        (feature() | {"properties": None}, "its properties must be an object with name and kind"),
        (feature() | {"colour": "red"}, "the feature may not have colour"),
        (feature(colour="red"), "its properties may not have colour"),
        (feature(kind="tent"), "its kind must be one of hall, stage, booth, food, entrance, other"),
        (feature(name="  "), "its name must be a text of 1 to 255 characters"),
        (feature(name="a" * 256), "its name must be a text of 1 to 255 characters"),
        (feature(name="a\0"), "its name must be a text of 1 to 255 characters"),
        (feature(company=5), "its company must be a text of 1 to 255 characters"),
        (feature(id=0), "its id must be an integer from 1 to 2,147,483,647"),
        (feature(id=True), "its id must be an integer from 1 to 2,147,483,647"),
        (feature() | {"geometry": None}, "its geometry must be a Polygon"),
        (
            feature() | {"geometry": {"type": "MultiPolygon", "coordinates": []}},
            "its geometry must be a Polygon, not a MultiPolygon",
        ),
        (feature(rings=[]), "its coordinates must be an array of rings"),
        (feature(rings=[[]]), "each ring must have 4 or more positions, and its last must equal its first"),
        (feature(rings=[square()[:-1]]), "each ring must have 4 or more positions"),
        (feature(rings=[["a"] * 5]), "each position must be an array of longitude and latitude"),
        (feature(rings=[[[True, 1]] * 5]), "each position must be an array of longitude and latitude"),
        (feature(rings=[square(390000, 5800000, 9)]), "the position 390000, 5.8e+06 is not on Earth"),
        (feature(rings=[BOW_TIE]), "not valid: self-intersection at longitude and latitude 13.45 52.55"),
        (feature(rings=[[[1.0, 1.0]] * 5]), "its area is not valid: too few points"),
        (feature(rings=[square(), square(14.0)]), "its area is not valid: hole lies outside shell"),
        (
            feature(rings=[[[179.9, 1], [-179.9, 1], [-179.9, 2], [179.9, 2], [179.9, 1]]]),
            "split a zone that crosses the 180th meridian into two zones there",
        ),
        (feature(rings=[[[1.0, 1.0]] * 1001]), "it has 1,001 points; 1,000 are allowed"),
    ],
)
def test_a_wrong_feature_is_named_with_the_reason(wrong: Any, reason: str) -> None:
    [error] = errors(feature("Good"), wrong)
    assert error.startswith("Feature 2")
    assert reason in error


def test_all_wrong_features_are_named_up_to_twenty() -> None:
    assert errors(feature(id=3), feature("Other", id=3)) == [
        "Feature 2 (Other): feature 1 has the id 3, too."
    ]
    found = errors(*[feature(f"Hall {number}", rings=[BOW_TIE]) for number in range(1, 31)])
    assert len(found) == 21
    assert found[19].startswith("Feature 20 (Hall 20)")
    assert found[20] == "And 10 more."


@pytest.mark.parametrize(
    ("wrong", "faults"),
    [
        ([], {"non_field_errors": ["Must be an object."]}),
        ({"type": "Feature", "features": []}, {"type": ["Must be FeatureCollection."]}),
        (shapes.collection() | {"features": {}}, {"features": ["Must be an array of features."]}),
        (shapes.collection(crs={}), {"crs": ["Unknown field."]}),
        (
            shapes.collection(*[feature()] * (MAX_ZONES + 1)),
            {"features": ["Must be at most 1,000 features; there are 1,001."]},
        ),
        (
            shapes.collection(*[feature(rings=[LARGEST_RING])] * 101),
            {"features": ["Must have at most 100,000 points together; they have 101,000."]},
        ),
    ],
)
def test_a_wrong_collection_is_refused(wrong: Any, faults: dict[str, list[str]]) -> None:
    with pytest.raises(InvalidZones) as fault:
        parse_collection(wrong)
    assert fault.value.errors == faults


def test_the_largest_collection_is_accepted() -> None:
    assert len(LARGEST_RING) == MAX_POINTS
    large = [feature(rings=[LARGEST_RING])] * 95
    parsed = parse_collection(shapes.collection(*large, *[feature()] * (MAX_ZONES - 95)))
    assert len(parsed) == MAX_ZONES


# --- the way through the database ----------------------------------------------------------------

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=255)


@st.composite
def areas(draw: st.DrawFn) -> list[list[list[float]]]:
    """The rings of a valid polygon: the hull of some points, now and then with a hole around its centre."""
    west = draw(st.sampled_from([-180, -90, 0]))  # no side is longer than 180 degrees
    points = st.tuples(st.floats(west, west + 180), st.floats(-90, 90))
    hull = Polygon([*(shell := draw(st.lists(points, min_size=3, max_size=12))), shell[0]]).convex_hull
    if hull.geom_type != "Polygon" or not hull.valid or hull.area < 1e-6:
        hull = Polygon.from_bbox((13.4, 52.5, 13.5, 52.6))
    rings = [[[x, y] for x, y in hull.coords[0]]]
    if draw(st.booleans()):
        x, y = hull.centroid.coords
        rings.append([[x + (each[0] - x) / 4, y + (each[1] - y) / 4] for each in rings[0]])
    return rings if Polygon(*rings).valid else rings[:1]


FEATURES = st.builds(
    feature,
    NAMES.filter(str.strip),
    st.sampled_from(Kind.values),
    rings=areas(),
    company=st.none() | NAMES,
)


@pytest.mark.django_db
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(features=st.lists(FEATURES, max_size=5))
def test_zones_come_out_of_the_database_as_they_came_in(features: list[dict[str, Any]]) -> None:
    storage.replace(zones=parse_collection(orjson.loads(orjson.dumps(shapes.collection(*features)))))
    found = orjson.loads(orjson.dumps(collection(storage.zones())))
    assert len(found["features"]) == len(features)
    for number, (sent, stored) in enumerate(zip(features, found["features"], strict=True), 1):
        company = sent["properties"]["company"]
        assert stored["properties"] == {
            "id": number,
            "name": sent["properties"]["name"].strip(),
            "kind": sent["properties"]["kind"],
            "company": (company or "").strip() or None,
        }
        for ring, ring_sent in zip(
            stored["geometry"]["coordinates"], sent["geometry"]["coordinates"], strict=True
        ):
            for point, point_sent in zip(ring, ring_sent, strict=True):
                assert point == pytest.approx(point_sent, abs=1e-7)
    assert collection(parse_collection(found)) == collection(storage.zones())
