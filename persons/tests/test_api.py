"""The REST paths of people: every method, and every error of a client."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from rest_framework.test import APIClient

from access import services as access
from access.callers import Kind
from locations.models import Location
from persons.models import Person

pytestmark = pytest.mark.django_db

ADA = {"first_name": "Ada", "last_name": "Lovelace", "company_name": "Engines Ltd"}
TOO_BIG = 2**63
PERSON_METHODS = ["get", "put", "patch", "delete"]


def as_sent(person: Person) -> dict[str, Any]:
    return {
        "id": person.pk,
        "first_name": person.first_name,
        "last_name": person.last_name,
        "company_name": person.company_name,
    }


def json_of(body: Any) -> tuple[bytes, str]:
    return json.dumps(body).encode(), "application/json"


def ids(answer: Any) -> list[int]:
    return [person["id"] for person in answer.json()]


# --- POST ----------------------------------------------------------------------------------------


def test_a_created_person_is_returned_with_an_id(api: APIClient) -> None:
    answer = api.post("/api/persons", ADA)
    assert answer.status_code == 201
    made = answer.json()
    assert made == {"id": made["id"], **ADA}
    assert isinstance(made["id"], int)
    assert answer["Location"] == f"/api/persons/{made['id']}"
    assert api.get(answer["Location"]).json() == made


def test_names_are_trimmed(api: APIClient) -> None:
    assert api.post("/api/persons", ADA | {"first_name": " \tAda\n"}).json()["first_name"] == "Ada"


@pytest.mark.parametrize("name", ["x", "ü" * 255, f"  {'x' * 255}  ", "李", "O'Brien; DROP TABLE", "😀"])
def test_names_of_1_to_255_characters_are_stored_unchanged(api: APIClient, name: str) -> None:
    answer = api.post("/api/persons", ADA | {"company_name": name})
    assert (answer.status_code, answer.json()["company_name"]) == (201, name.strip())


@pytest.mark.parametrize("field", ADA)
@pytest.mark.parametrize(
    "value", ["", "   ", "x" * 256, None, True, 5, 5.5, ["x"], {"x": "y"}, "nul\0nul"], ids=repr
)
def test_an_invalid_name_is_refused_by_field(api: APIClient, field: str, value: Any) -> None:
    answer = api.post("/api/persons", ADA | {field: value})
    assert answer.status_code == 400
    assert list(answer.json()) == [field]
    assert not Person.objects.exists()


def test_missing_names_are_listed(api: APIClient) -> None:
    answer = api.post("/api/persons", {})
    assert answer.status_code == 400
    assert answer.json() == {key: ["This field is required."] for key in ADA}


def test_unknown_fields_are_listed(api: APIClient) -> None:
    answer = api.post("/api/persons", ADA | {"age": 36, "title": "Countess"})
    assert answer.status_code == 400
    assert answer.json() == {"age": ["Unknown field."], "title": ["Unknown field."]}


def test_an_id_in_the_body_is_ignored(api: APIClient, ann: Person) -> None:
    answer = api.post("/api/persons", ADA | {"id": ann.pk})
    assert answer.status_code == 201
    assert answer.json()["id"] != ann.pk
    assert api.put(f"/api/persons/{ann.pk}", ADA | {"id": 999}).json()["id"] == ann.pk


@pytest.mark.parametrize("body", ["[]", '[{"first_name": "Ada"}]', '"text"', "5", "null", "true"])
def test_a_body_that_is_not_an_object_is_refused(api: APIClient, ann: Person, body: str) -> None:
    for answer in [
        api.post("/api/persons", body, content_type="application/json"),
        api.put(f"/api/persons/{ann.pk}", body, content_type="application/json"),
        api.patch(f"/api/persons/{ann.pk}", body, content_type="application/json"),
    ]:
        assert answer.status_code == 400
        assert answer["Content-Type"] == "application/json"
    assert api.get("/api/persons").json() == [as_sent(ann)]


# --- one person ----------------------------------------------------------------------------------


def test_put_replaces_all_names(api: APIClient, ann: Person) -> None:
    answer = api.put(f"/api/persons/{ann.pk}", ADA)
    assert (answer.status_code, answer.json()) == (200, {"id": ann.pk, **ADA})
    assert api.get(f"/api/persons/{ann.pk}").json() == {"id": ann.pk, **ADA}


def test_put_needs_all_names(api: APIClient, ann: Person) -> None:
    answer = api.put(f"/api/persons/{ann.pk}", {"first_name": "Ada"})
    assert answer.status_code == 400
    assert set(answer.json()) == {"last_name", "company_name"}
    assert api.get(f"/api/persons/{ann.pk}").json() == as_sent(ann)


def test_patch_changes_only_the_given_names(api: APIClient, ann: Person) -> None:
    answer = api.patch(f"/api/persons/{ann.pk}", {"company_name": "Other"})
    assert (answer.status_code, answer.json()) == (200, as_sent(ann) | {"company_name": "Other"})
    assert api.patch(f"/api/persons/{ann.pk}", {}).json() == as_sent(ann) | {"company_name": "Other"}


@pytest.mark.parametrize("verb", ["put", "patch"])
def test_a_change_is_validated_as_a_new_person_is(api: APIClient, ann: Person, verb: str) -> None:
    answer = getattr(api, verb)(f"/api/persons/{ann.pk}", ADA | {"first_name": " ", "age": 5})
    assert answer.status_code == 400
    assert "age" in answer.json()
    assert getattr(api, verb)(f"/api/persons/{ann.pk}", ADA | {"first_name": " "}).status_code == 400
    assert api.get(f"/api/persons/{ann.pk}").json() == as_sent(ann)


@pytest.mark.parametrize("verb", PERSON_METHODS)
@pytest.mark.parametrize(
    "number", ["0", "999999999", TOO_BIG, 10**30, pytest.param("9" * 5000, id="5000 digits")]
)
def test_an_unknown_person_is_a_404(api: APIClient, verb: str, number: object) -> None:
    answer = api.generic(verb.upper(), f"/api/persons/{number}", *json_of(ADA))
    assert answer.status_code == 404
    assert answer["Content-Type"] == "application/json"
    assert set(answer.json()) == {"detail"}


@pytest.mark.parametrize("verb", PERSON_METHODS)
@pytest.mark.parametrize("text", ["-1", "5.0", "abc", "5-1", "%00", "%ff", "5%20", "٥"])
def test_a_malformed_id_is_a_404_in_json(api: APIClient, verb: str, text: str) -> None:
    answer = api.generic(verb.upper(), f"/api/persons/{text}", *json_of(ADA))
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not found."})


def test_deleting_a_person_deletes_only_their_pings(api: APIClient, ann: Person, bo: Person) -> None:
    ping = {"latitude": 1, "longitude": 2, "creation_time": "2026-05-11T09:30:00Z"}
    kept = api.post("/api/locations", ping | {"person_id": bo.pk})["Location"]
    gone = api.post("/api/locations", ping | {"person_id": ann.pk})["Location"]
    answer = api.delete(f"/api/persons/{ann.pk}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert api.get(f"/api/persons/{ann.pk}").status_code == 404
    assert api.get(gone).status_code == 404
    assert api.get(f"/api/locations?person_id={ann.pk}").json() == []
    assert api.get(kept).status_code == 200
    assert api.post("/api/locations", ping | {"person_id": ann.pk}).status_code == 404
    assert api.delete(f"/api/persons/{ann.pk}").status_code == 404


def test_person_and_pings_are_deleted_in_one_transaction(api: APIClient, ann: Person) -> None:
    api.post("/api/locations", {"person_id": ann.pk, "latitude": 1, "longitude": 2})
    with transaction.atomic():
        api.delete(f"/api/persons/{ann.pk}")
        assert (Person.objects.count(), Location.objects.count()) == (0, 0)
        transaction.set_rollback(True)
    assert (Person.objects.count(), Location.objects.count()) == (1, 1)


def test_the_id_of_a_deleted_person_is_not_reused(api: APIClient) -> None:
    first = api.post("/api/persons", ADA).json()["id"]
    api.delete(f"/api/persons/{first}")
    assert api.post("/api/persons", ADA).json()["id"] > first


# --- lists ---------------------------------------------------------------------------------------


def test_people_are_ordered_by_id(api: APIClient, ann: Person, bo: Person) -> None:
    assert api.get("/api/persons").json() == [as_sent(ann), as_sent(bo)]


def test_no_people_is_an_empty_array(api: APIClient) -> None:
    answer = api.get("/api/persons")
    assert (answer.status_code, answer.json(), answer.has_header("Link")) == (200, [], False)


def test_people_by_id(api: APIClient, person: Callable[..., Person]) -> None:
    a, b, c = (person().pk for _ in range(3))
    assert ids(api.get(f"/api/persons?id={c}&id={a}")) == [a, c]
    assert ids(api.get(f"/api/persons?id={b}&id={b}")) == [b]
    assert ids(api.get(f"/api/persons?id={b}&id=999999999&id={TOO_BIG}&id=-1&id=0")) == [b]
    assert ids(api.get(f"/api/persons?id={TOO_BIG}")) == []


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("ann", ["Ann"]),
        ("ANN", ["Ann"]),
        ("brio", ["Bo", "Cy"]),
        ("ek bri", ["Bo"]),
        ("bri  ek ", ["Bo"]),
        ("%", ["Cy"]),
        ("_", []),
        ("\\", []),
        ("100%", ["Cy"]),
        ("é", ["Cy"]),
        ("nobody", []),
        ("ann ek", []),
        ("", ["Ann", "Bo", "Cy"]),
        ("   ", ["Ann", "Bo", "Cy"]),
    ],
)
def test_search_finds_people_who_match_every_word(
    api: APIClient, ann: Person, bo: Person, person: Callable[..., Person], words: str, found: list[str]
) -> None:
    person("Cy", "José", "Brio 100%")
    answer = api.get("/api/persons", {"search": words})
    assert [each["first_name"] for each in answer.json()] == found


@pytest.mark.parametrize("query", ["limit=3", "limit=2&search=ann%20%26", "limit=1&search=%2B"])
def test_all_pages_together_are_the_whole_list(
    api: APIClient, person: Callable[..., Person], walk: Callable[[str], list[list[Any]]], query: str
) -> None:
    for number in range(10):
        person(f"{'Ann' if number % 2 else 'Bo'} & {number} +")
    whole = api.get(f"/api/persons?{query.partition('&')[2]}").json()
    pages = walk(f"/api/persons?{query}")
    assert len(pages) > 2
    assert [one for page in pages for one in page] == whole


def test_a_last_page_that_is_full_has_no_next_link(api: APIClient, ann: Person, bo: Person) -> None:
    assert not api.get("/api/persons?limit=2").has_header("Link")
    assert api.get("/api/persons?limit=1").has_header("Link")


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("limit=-1", "limit"),
        ("limit=1.5", "limit"),
        ("limit=ten", "limit"),
        ("limit=", "limit"),
        ("limit=1&limit=2", "limit"),
        ("id=x", "id"),
        ("id=", "id"),
        ("id=1.0", "id"),
        ("id=true", "id"),
        ("id=%D9%A5", "id"),
        ("after=x", "after"),
        ("after=", "after"),
        ("after=W10", "after"),  # []
        ("after=WyI1Il0", "after"),  # ["5"]
        ("after=WzEuNV0", "after"),  # [1.5]
        ("after=W3RydWVd", "after"),  # [true]
        ("after=WzkyMjMzNzIwMzY4NTQ3NzU4MDhd", "after"),  # [2**63]
        ("after=%00", "after"),
        ("after=%FF%C3%A9", "after"),
        ("search=a&search=b", "search"),
        ("search=%00", "search"),
        (f"search={'x' * 256}", "search"),
        ("name=ann", "name"),
        ("Limit=5", "Limit"),
    ],
)
def test_an_invalid_parameter_is_named(api: APIClient, query: str, fault: str) -> None:
    answer = api.get(f"/api/persons?{query}")
    assert answer.status_code == 400
    assert list(answer.json()) == [fault]


def test_all_invalid_parameters_are_named(api: APIClient) -> None:
    assert set(api.get("/api/persons?limit=0&id=x&after=x").json()) == {"limit", "id", "after"}
    assert set(api.get("/api/persons?no=1&neither=2").json()) == {"no", "neither"}


@pytest.mark.parametrize("limit", [1, 10_000])
def test_limits_of_1_to_10_000_are_accepted(api: APIClient, ann: Person, limit: int) -> None:
    assert ids(api.get(f"/api/persons?limit={limit}")) == [ann.pk]


def test_paths_without_parameters_refuse_any_parameter(api: APIClient, ann: Person) -> None:
    one = f"/api/persons/{ann.pk}?limit=1"
    for answer in [
        api.get(one),
        api.put(one, ADA),
        api.patch(one, ADA),
        api.delete(one),
        api.post("/api/persons?limit=1", ADA),
    ]:
        assert (answer.status_code, answer.json()) == (400, {"limit": ["Unknown parameter."]})
    assert Person.objects.get() == ann


# --- query counts --------------------------------------------------------------------------------


def test_each_call_is_one_query(
    api: APIClient, ann: Person, bo: Person, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(1):
        api.get(f"/api/persons/{ann.pk}")
    with django_assert_num_queries(1):
        api.get(f"/api/persons?id={ann.pk}&id={bo.pk}")
    with django_assert_num_queries(1):
        api.get("/api/persons?search=ann&limit=10")
    with django_assert_num_queries(1):
        api.post("/api/persons", ADA)


# --- consent -------------------------------------------------------------------------------------


def test_people_are_findable_by_default_and_can_change_it(api: APIClient, ann: Person) -> None:
    path = f"/api/persons/{ann.pk}/consent"
    for findable in (False, True):
        answer = api.put(path, {"findable": findable})
        assert (answer.status_code, answer.json()) == (200, {"findable": findable})
        assert api.get(path).json() == {
            "findable": findable,
            "decided": False,
        }  # not set with their own token


def test_only_a_persons_own_choice_counts_as_decided(settings: Any, api: APIClient, ann: Person) -> None:
    settings.ACCESS = "tokens"
    organiser = User.objects.create_superuser("organiser")
    _, own = access.make(name="Ann", kind=Kind.PERSON, first_person_id=ann.id)
    _, staff = access.make(name="staff", kind=Kind.STAFF, user=organiser)
    path = f"/api/persons/{ann.id}/consent"

    def ask(verb: str, token: str, body: Any = None) -> Any:
        answer = getattr(api, verb)(path, body, headers={"authorization": f"Bearer {token}"})
        assert answer.status_code == 200, answer.content
        return answer.json()

    ask("put", staff, {"findable": True})
    assert ask("get", own) == {"findable": True, "decided": False}
    ask("put", own, {"findable": False})
    assert ask("get", own) == {"findable": False, "decided": True}
    ask("put", staff, {"findable": True})
    assert ask("get", own) == {"findable": True, "decided": True}


def test_a_person_who_is_not_findable_is_in_no_list_but_found_by_id(
    api: APIClient, ann: Person, bo: Person, walk: Callable[[str], list[list[Any]]]
) -> None:
    api.put(f"/api/persons/{ann.pk}/consent", {"findable": False})
    assert ids(api.get("/api/persons")) == [bo.pk]
    assert ids(api.get("/api/persons?search=ann")) == []
    assert ids(api.get(f"/api/persons?id={ann.pk}&id={bo.pk}")) == [bo.pk]
    assert walk("/api/persons?limit=1") == [[as_sent(bo)]]
    assert api.get(f"/api/persons/{ann.pk}").json() == as_sent(ann)
    assert api.patch(f"/api/persons/{ann.pk}", {"first_name": "Anna"}).status_code == 200
    assert ids(api.get("/api/persons?search=anna")) == []


@pytest.mark.parametrize("value", [None, 0, 1, "true", "", [], {}], ids=repr)
def test_findable_must_be_true_or_false(api: APIClient, ann: Person, value: Any) -> None:
    answer = api.put(f"/api/persons/{ann.pk}/consent", {"findable": value})
    assert answer.status_code == 400
    assert list(answer.json()) == ["findable"]
    assert Person.objects.get().findable


def test_consent_refuses_other_fields_and_unknown_people(api: APIClient, ann: Person) -> None:
    assert api.put(f"/api/persons/{ann.pk}/consent", {}).json() == {"findable": ["This field is required."]}
    more = api.put(f"/api/persons/{ann.pk}/consent", {"findable": False, "until": "tomorrow"})
    assert (more.status_code, more.json()) == (400, {"until": ["Unknown field."]})
    for unknown_id in (ann.pk + 1, TOO_BIG):
        for answer in (
            api.get(f"/api/persons/{unknown_id}/consent"),
            api.put(f"/api/persons/{unknown_id}/consent", {"findable": False}),
        ):
            assert answer.status_code == 404
            assert answer.json() == {"detail": f"There is no person {unknown_id}."}
