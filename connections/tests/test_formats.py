"""Encounters as GeoJSON and CSV."""

import csv
import io
import json
from collections.abc import Callable

import pytest
from rest_framework.test import APIClient

from connections.tests.scenario import DAY, METRE, NINE, ask, stand
from locations import storage
from locations.pings import Ping
from persons.models import Person

pytestmark = pytest.mark.django_db

HEADER = (
    "person_id,first_name,last_name,company_name,start,end,duration_s,pings,min_distance_m,latitude,longitude"
)


def test_encounters_as_geojson(api: APIClient, ann: Person, bo: Person, meeting: None) -> None:
    plain = ask(api, ann, "encounters").json()
    for answer in [
        ask(api, ann, "encounters", headers={"accept": "application/geo+json"}),
        ask(api, ann, "encounters", f"{DAY}&format=geojson"),
    ]:
        assert (answer.status_code, answer["Content-Type"]) == (200, "application/geo+json")
        collection = json.loads(answer.content)
        assert (list(collection), collection["type"]) == (["type", "features"], "FeatureCollection")
        for feature, row in zip(collection["features"], plain, strict=True):
            assert feature["type"] == "Feature"
            assert feature["geometry"] == {"type": "Point", "coordinates": [0.0, 0.0]}
            rest = {name: value for name, value in row.items() if name not in ("latitude", "longitude")}
            assert feature["properties"] == rest


def test_geojson_has_longitude_before_latitude(api: APIClient, ann: Person, bo: Person) -> None:
    stand(ann, 0, latitude=45, metres=1e6)
    stand(bo, 0, latitude=45, metres=1e6)
    answer = ask(api, ann, "encounters", f"{DAY}&format=geojson")
    [feature] = json.loads(answer.content)["features"]
    assert feature["geometry"]["coordinates"] == [pytest.approx(1e6 * METRE, abs=1e-7), 45.0]


def test_encounters_as_csv(api: APIClient, ann: Person, person: Callable[..., Person]) -> None:
    zoe = person("Zoë", 'von "Z", jr.', "Two\nLines")
    stand(ann, 0)
    stand(zoe, 0)
    for answer in [
        ask(api, ann, "encounters", headers={"accept": "text/csv"}),
        ask(api, ann, "encounters", f"{DAY}&format=csv"),
    ]:
        assert (answer.status_code, answer["Content-Type"]) == (200, "text/csv; charset=utf-8")
        header, row = csv.reader(io.StringIO(answer.content.decode(), newline=""))
        assert ",".join(header) == HEADER
        when = "2026-05-11T09:00:00Z"
        assert row == [
            *(str(zoe.pk), "Zoë", 'von "Z", jr.', "Two\nLines"),
            *(when, when, "0.0", "1", "0.0", "0.0000000", "0.0000000"),
        ]


@pytest.mark.parametrize(
    ("name", "empty"),
    [("json", "[]"), ("geojson", '{"type":"FeatureCollection","features":[]}'), ("csv", f"{HEADER}\r\n")],
)
def test_an_empty_answer_is_well_formed_in_every_format(
    api: APIClient, ann: Person, name: str, empty: str
) -> None:
    assert ask(api, ann, "encounters", f"{DAY}&format={name}").content.decode() == empty


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", '=HYPERLINK("x")'])
def test_csv_cells_that_look_like_formulas_are_escaped(
    api: APIClient, ann: Person, person: Callable[..., Person], name: str
) -> None:
    other = person(name, f"{name}b", f"{name}c")
    storage.record([Ping(each.pk, NINE, -1.0, -2.0) for each in (ann, other)])

    answer = ask(api, ann, "encounters", headers={"accept": "text/csv"})

    _, row = csv.reader(io.StringIO(answer.content.decode(), newline=""))
    assert row[:4] == [str(other.pk), f"'{name}", f"'{name}b", f"'{name}c"]
    assert row[-2:] == ["-1.0000000", "-2.0000000"]  # numbers stay numbers


@pytest.mark.parametrize("form", ["text/csv", "application/geo+json"])
def test_errors_of_geojson_and_csv_are_json(api: APIClient, ann: Person, form: str) -> None:
    for answer, status in [
        (ask(api, ann, "encounters", "", headers={"accept": form}), 400),
        (ask(api, 999_999_999, "encounters", headers={"accept": form}), 404),
    ]:
        assert (answer.status_code, answer["Content-Type"]) == (status, "application/json")
        assert json.loads(answer.content)


@pytest.mark.parametrize("form", ["text/csv", "application/geo+json"])
def test_options_is_answered_in_json(api: APIClient, ann: Person, form: str) -> None:
    answer = api.options(f"/api/persons/{ann.pk}/encounters", headers={"accept": form})
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")
    assert form in answer.json()["renders"]


@pytest.mark.parametrize("name", ["csv", "geojson"])
def test_geojson_and_csv_have_pages(api: APIClient, ann: Person, meeting: None, name: str) -> None:
    answer = ask(api, ann, "encounters", f"{DAY}&limit=1&format={name}")
    assert f"format={name}" in answer["Link"]
    following = api.get(answer["Link"][1:].partition(">")[0])
    assert following["Content-Type"].startswith(answer["Content-Type"])
    assert not following.has_header("Link")
