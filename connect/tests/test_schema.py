"""The schema says what the contract says, in words that help, and is the same whoever serves it."""

from typing import Any

import pytest
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from rest_framework.test import APIClient

SCHEMA = SchemaGenerator(urlconf="connect.api_urls").get_schema(request=None, public=True)
OPERATIONS = {
    f"{verb.upper()} {path}": operation
    for path, verbs in SCHEMA["paths"].items()
    for verb, operation in verbs.items()
}
ANSWERS = {
    "GET /api/persons": {"200", "400", "406", "503"},
    "POST /api/persons": {"201", "400", "406", "413", "415", "503"},
    "GET /api/persons/{person_id}": {"200", "400", "404", "406", "503"},
    "PUT /api/persons/{person_id}": {"200", "400", "404", "406", "413", "415", "503"},
    "PATCH /api/persons/{person_id}": {"200", "400", "404", "406", "413", "415", "503"},
    "DELETE /api/persons/{person_id}": {"204", "400", "404", "406", "503"},
    "GET /api/locations": {"200", "400", "406", "503"},
    "POST /api/locations": {"202", "207", "400", "404", "406", "413", "415", "503"},
    "GET /api/locations/{location_id}": {"200", "400", "404", "406", "503"},
    "GET /api/persons/{person_id}/connection": {"200", "400", "404", "406", "503"},
    "GET /api/persons/{person_id}/encounters": {"200", "400", "404", "406", "503"},
    "GET /health": {"200", "400", "406"},
    "GET /health/live": {"200", "400", "406"},
    "GET /health/ready": {"200", "400", "406", "503"},
}


def test_it_is_valid_and_has_every_path_and_verb() -> None:
    validate_schema(SCHEMA)
    assert set(OPERATIONS) == set(ANSWERS)


@pytest.mark.parametrize("operation", ANSWERS)
def test_every_answer_of_an_operation_is_named(operation: str) -> None:
    assert set(OPERATIONS[operation]["responses"]) == ANSWERS[operation]


@pytest.mark.parametrize("operation", ANSWERS)
def test_every_operation_has_words_an_example_and_described_parameters(operation: str) -> None:
    spec = OPERATIONS[operation]
    assert spec["summary"]
    assert spec["description"]
    assert spec["operationId"]
    for parameter in spec.get("parameters", []):
        assert parameter.get("description") or parameter["name"] == "format", parameter["name"]
    bodies: list[Any] = [spec["requestBody"]] if "requestBody" in spec else []
    bodies += [answer for status, answer in spec["responses"].items() if status[0] == "2"]
    for body in bodies:
        for form in body.get("content", {}).values():
            assert form.get("examples"), operation


@pytest.mark.parametrize(
    ("name", "unit"), [("distance", "Metres"), ("within", "Seconds"), ("max_gap", "Seconds")]
)
def test_units_are_named(name: str, unit: str) -> None:
    for parameter in OPERATIONS["GET /api/persons/{person_id}/encounters"]["parameters"]:
        if parameter["name"] == name:
            assert unit in parameter["description"]
            return
    pytest.fail(f"{name} is not documented")


@pytest.mark.parametrize("accept", ["application/json", "application/yaml", "*/*"])
def test_it_can_be_had_in_both_forms(api: APIClient, accept: str) -> None:
    answer = api.get("/api/schema", headers={"accept": accept})
    assert answer.status_code == 200
    assert b"/api/persons/{person_id}/encounters" in answer.content
