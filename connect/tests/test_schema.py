"""The OpenAPI schema matches the contract, is documented, and is the same in every process."""

import json
from io import StringIO
from typing import Any

import jsonschema
import pytest
from django.conf import settings as project
from django.core.management import call_command
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema
from rest_framework.test import APIClient

from connect.web.entry_points import Schema as CachedSchema
from webhooks.models import Webhook

SCHEMA = SchemaGenerator(urlconf="connect.api_urls").get_schema(request=None, public=True)
OPERATIONS = {
    f"{verb.upper()} {path}": operation
    for path, verbs in SCHEMA["paths"].items()
    for verb, operation in verbs.items()
}
PARAMETERS = {
    (name, parameter["name"]): parameter
    for name, operation in OPERATIONS.items()
    for parameter in operation.get("parameters", ())
}
RESPONSES = {
    (name, status): response
    for name, operation in OPERATIONS.items()
    for status, response in operation["responses"].items()
}
STATUSES = {
    "GET /api/persons": {"200", "400", "406", "503"},
    "POST /api/persons": {"201", "400", "406", "413", "415", "503"},
    "GET /api/persons/{person_id}": {"200", "400", "404", "406", "503"},
    "PUT /api/persons/{person_id}": {"200", "400", "404", "406", "413", "415", "503"},
    "PATCH /api/persons/{person_id}": {"200", "400", "404", "406", "413", "415", "503"},
    "DELETE /api/persons/{person_id}": {"204", "400", "404", "406", "503"},
    "GET /api/persons/{person_id}/consent": {"200", "400", "404", "406", "503"},
    "PUT /api/persons/{person_id}/consent": {"200", "400", "404", "406", "413", "415", "503"},
    "GET /api/caller": {"200", "400", "406", "503"},
    "POST /api/caller/exchange": {"201", "400", "404", "406", "413", "415", "503"},
    "GET /api/locations": {"200", "400", "404", "406", "413", "503"},
    "GET /api/persons/{person_id}/export": {"200", "400", "404", "406", "503"},
    "POST /api/persons/{person_id}/erasure": {"200", "400", "404", "406", "503"},
    "GET /api/persons/{person_id}/questions": {"200", "400", "404", "406", "503"},
    "POST /api/locations": {"202", "207", "400", "404", "406", "413", "415", "503"},
    "GET /api/days": {"200", "400", "404", "406", "413", "503"},
    "GET /api/positions": {"200", "400", "406", "413", "503"},
    "GET /api/heat": {"200", "400", "406", "413", "503"},
    "GET /api/locations/{location_id}": {"200", "400", "404", "406", "503"},
    "POST /api/phones/owntracks": {"200", "400", "406", "413", "415", "503"},
    "POST /api/phones/overland": {"200", "400", "406", "413", "415", "503"},
    "GET /api/phones/osmand": {"200", "400", "406", "413", "415", "503"},
    "POST /api/phones/osmand": {"200", "400", "406", "413", "415", "503"},
    "POST /api/phones/gpslogger": {"200", "400", "406", "413", "415", "503"},
    "GET /api/persons/{person_id}/connection": {"200", "400", "404", "406", "413", "503"},
    "GET /api/persons/{person_id}/encounters": {"200", "400", "404", "406", "413", "503"},
    "GET /api/event": {"200", "400", "406", "503"},
    "PUT /api/event": {"200", "400", "406", "413", "415", "503"},
    "GET /api/zones": {"200", "400", "406", "503"},
    "PUT /api/zones": {"200", "400", "406", "413", "415", "503"},
    "GET /api/zones/visits": {"200", "400", "406", "413", "503"},
    "GET /api/webhooks": {"200", "400", "406", "503"},
    "POST /api/webhooks": {"201", "400", "406", "413", "415", "503"},
    "GET /api/webhooks/{webhook_id}": {"200", "400", "404", "406", "503"},
    "DELETE /api/webhooks/{webhook_id}": {"204", "400", "404", "406", "503"},
    "GET /api/encounters": {"200", "400", "404", "406", "413", "503"},
    "GET /api/encounters/summary": {"200", "400", "406", "413", "503"},
    "GET /api/encounters/graph": {"200", "400", "404", "406", "413", "503"},
    "GET /api/encounters/cascade": {"200", "400", "404", "406", "413", "503"},
    "GET /api/live": {"200", "400", "404", "406", "503"},
    "GET /api/": {"200", "400", "406"},
    "GET /health": {"200", "400", "406"},
    "GET /health/live": {"200", "400", "406"},
    "GET /health/ready": {"200", "400", "406", "503"},
    "GET /health/ready/connections": {"200", "400", "406", "503"},
    "GET /health/ready/locations": {"200", "400", "406", "503"},
    "GET /health/ready/encounters": {"200", "400", "406", "503"},
    "GET /health/ready/live": {"200", "400", "406", "503"},
}


def example(spec: dict[str, Any]) -> Any:
    """The first example of a parameter, header or media type."""
    for one in spec.get("examples", {}).values():
        return one["value"]
    return {**spec, **spec["schema"]}["example"]


def test_the_schema_is_valid_and_has_every_operation() -> None:
    validate_schema(SCHEMA)
    assert set(OPERATIONS) == set(STATUSES)


@pytest.mark.parametrize("operation", STATUSES)
def test_every_status_of_an_operation_is_listed(operation: str) -> None:
    public = " /api/" not in operation or operation == "GET /api/" or operation.endswith("/exchange")
    refused = set() if public else {"401", "403"}
    assert set(OPERATIONS[operation]["responses"]) == STATUSES[operation] | refused


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_is_described(operation: str) -> None:
    spec = OPERATIONS[operation]
    assert spec["operationId"]
    assert spec["summary"]
    assert spec["description"] != spec["summary"]
    for form in spec.get("requestBody", {"content": {}})["content"].values():
        assert example(form)


@pytest.mark.parametrize(("operation", "parameter"), PARAMETERS)
def test_a_parameter_describes_its_bounds_and_default(operation: str, parameter: str) -> None:
    spec = PARAMETERS[operation, parameter]
    assert example(spec)
    for bound in ("default", "minimum", "maximum", "maxLength"):
        for schema in [spec["schema"], *spec["schema"].get("oneOf", ())]:
            if value := schema.get(bound):
                limit_text = value if isinstance(value, str) else f"{value:,g}"
                assert limit_text in spec["description"], bound
    assert spec["description"]


@pytest.mark.parametrize(("operation", "status"), RESPONSES)
def test_a_response_has_a_description_and_an_example(operation: str, status: str) -> None:
    spec = RESPONSES[operation, status]
    assert spec["description"]
    assert bool(spec.get("content")) == (status != "204")
    for form in spec.get("content", {}).values():
        assert example(form) is not None
    for header in spec.get("headers", {}).values():
        assert header["description"]
        assert example(header)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("distance", "metres"),
        ("within", "seconds"),
        ("max_gap", "seconds"),
        ("min_duration", "seconds"),
        ("max_accuracy", "metres"),
        ("max_age", "seconds"),
        ("cell_m", "metres"),
        ("bbox", "degrees"),
        ("start_date", "UTC"),
        ("limit", "rows"),
    ],
)
def test_units_are_named(name: str, unit: str) -> None:
    found = [spec for (_, parameter), spec in PARAMETERS.items() if parameter == name]
    assert found
    for spec in found:
        assert unit in spec["description"]


def as_json_schema(node: Any) -> Any:
    """A schema of OpenAPI 3.0 in which `nullable` is written as JSON Schema has it."""
    if isinstance(node, list):
        return [as_json_schema(each) for each in node]
    if not isinstance(node, dict):
        return node
    plain = {name: as_json_schema(each) for name, each in node.items() if name != "nullable"}
    return {"anyOf": [plain, {"type": "null"}]} if node.get("nullable") is True else plain


@pytest.mark.parametrize(("operation", "status"), RESPONSES)
def test_examples_match_their_schema(operation: str, status: str) -> None:
    for form in RESPONSES[operation, status].get("content", {}).values():
        for example in form["examples"].values():
            whole = form["schema"] | {"components": SCHEMA["components"]}
            jsonschema.validate(example["value"], as_json_schema(whole))


def test_the_examples_work_on_the_simulated_event(db: None, api: APIClient, settings: Any) -> None:
    settings.ROOT_URLCONF = "connect.api_urls"  # the paths of all processes
    call_command("simulate", stdout=StringIO(), stderr=StringIO())
    hook = example(RESPONSES["GET /api/webhooks/{webhook_id}", "200"]["content"]["application/json"])
    stored = hook | {"min_duration_s": hook["min_duration"], "next_attempt": hook["created"], "secret": "-"}
    Webhook.objects.create(**{name: stored[name] for name in stored if name != "min_duration"})
    day = ["--from=2026-05-11", "--to=2026-05-11"]
    call_command("find_encounters", *day, stdout=StringIO(), stderr=StringIO())
    for name, operation in OPERATIONS.items():
        verb, path = name.split()
        if verb != "GET" or path.startswith("/health") or path.endswith("/questions"):
            continue  # without tokens nobody's questions are written down
        if path == "/api/live":
            continue  # the answer does not end
        given: dict[str, dict[str, Any]] = {one["in"]: {} for one in operation.get("parameters", ())}
        for parameter in operation.get("parameters", ()):
            given[parameter["in"]][parameter["name"]] = example(parameter)
        answer = api.get(path.format(**given.get("path", {})), given.get("query"))
        forms = operation["responses"]["200"]["content"]
        if "application/json" not in forms:
            assert answer["Content-Type"] in forms
            continue
        sample, found = example(forms["application/json"]), json.loads(b"".join(answer))
        if "features" in sample:  # GeoJSON
            sample, found = sample["features"], found["features"]
        elif "edges" in sample:
            sample, found = sample["edges"], found["edges"]
        assert sample == found or sample[0] in found, name


def test_the_committed_schema_is_what_every_process_serves(api: APIClient) -> None:
    committed = (project.BASE_DIR / "docs" / "openapi.yaml").read_text()
    served = api.get("/api/schema", headers={"accept": "application/yaml"})
    assert served.content.decode() == committed, "run `make openapi`"


@pytest.mark.parametrize("accept", ["application/json", "application/yaml", "*/*"])
def test_the_schema_is_served_as_json_and_yaml(api: APIClient, accept: str) -> None:
    answer = api.get("/api/schema", headers={"accept": accept})
    assert answer.status_code == 200
    assert b"/api/persons/{person_id}/encounters" in answer.content


# --- serving the schema --------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/schema", "/api/docs", "/api/redoc"])
@pytest.mark.parametrize("credentials", ["Bearer nonsense.of-nobody", "Basic YTpi", "nonsense"])
def test_credentials_are_ignored(api: APIClient, settings: Any, path: str, credentials: str) -> None:
    """Also without a database, because the web app process serves the schema, too."""
    settings.ACCESS = "tokens"
    api.cookies[settings.SESSION_COOKIE_NAME] = "x" * 32
    answer = api.get(path, headers={"accept": "*/*", "authorization": credentials})
    assert answer.status_code == 200


def test_the_schema_is_generated_once_per_format(api: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    generated: list[object] = []
    generate = SchemaGenerator.get_schema

    def recorded(self: SchemaGenerator, *arguments: Any, **more: Any) -> Any:
        generated.append(self)
        return generate(self, *arguments, **more)

    monkeypatch.setattr(SchemaGenerator, "get_schema", recorded)
    monkeypatch.setattr(CachedSchema, "_cache", {})
    for accept in ("application/json", "application/yaml") * 3:
        assert api.get("/api/schema?x=1", headers={"accept": accept}).status_code == 200
    assert len(generated) == 2


@pytest.mark.parametrize("accept", ["application/json", "application/yaml"])
def test_an_unchanged_schema_is_a_304(api: APIClient, accept: str) -> None:
    first = api.get("/api/schema", headers={"accept": accept})
    assert first["Cache-Control"] == "public, max-age=300"
    assert {"Accept", "Accept-Encoding"} <= set(first["Vary"].replace(",", " ").split())
    for etag in (first["ETag"], f"W/{first['ETag']}"):  # the weak form that a compressing proxy sends
        again = api.get("/api/schema", headers={"accept": accept, "if-none-match": etag})
        assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])
    assert api.get("/api/schema", headers={"accept": accept, "if-none-match": '"other"'}).status_code == 200
