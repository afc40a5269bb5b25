"""Rules for every path: methods, formats, slashes, invalid bodies, CORS, caching."""

import json
from typing import Any

import pytest
from django.conf import settings
from rest_framework.test import APIClient

from persons.models import Person

pytestmark = pytest.mark.django_db

DAY = "start_date=2026-05-11&end_date=2026-05-11"
ADA = {"first_name": "Ada", "last_name": "Lovelace", "company_name": "Engines Ltd"}

LOCATION = "/api/locations/{id}-1778491800000000"

# Path -> required query and allowed methods.
PATHS = {
    "/api/persons": ("", "GET POST"),
    "/api/persons/{id}": ("", "GET PUT PATCH DELETE"),
    "/api/persons/{id}/consent": ("", "GET PUT"),
    "/api/persons/{id}/connection": (DAY, "GET"),
    "/api/persons/{id}/encounters": (DAY, "GET"),
    "/api/locations": ("limit=5", "GET POST"),
    LOCATION: ("", "GET"),
    "/api/event": ("", "GET PUT"),
    "/api/zones": ("", "GET PUT"),
    "/api/zones/visits": (DAY, "GET"),
    "/health": ("", "GET"),
    "/health/live": ("", "GET"),
    "/health/ready": ("", "GET"),
    "/health/ready/connections": ("", "GET"),
    "/health/ready/locations": ("", "GET"),
}
API_PATHS = [path for path in PATHS if path.startswith("/api")]
BODY_OPERATIONS = [(path, verb) for path in API_PATHS for verb in PATHS[path][1].split() if verb[0] == "P"]
VERBS = ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"]


@pytest.fixture
def request_path(api: APIClient, ann: Person) -> Any:
    """Sends a request about Ann: `request_path("GET", "/api/persons/{id}")`."""

    def ask(verb: str, path: str, body: bytes = b"", *, more: str = "", **headers: str) -> Any:
        query = PATHS[path][0] if verb in ("GET", "HEAD") else ""
        kind = headers.pop("content_type", "application/json")
        if path == LOCATION:
            ping = {"person_id": ann.pk, "latitude": 1, "longitude": 2}
            api.post("/api/locations", ping | {"creation_time": "2026-05-11T09:30:00Z"})
        url = f"{path.format(id=ann.pk)}?{query}{more}".rstrip("?")
        return api.generic(verb, url, body, content_type=kind, headers=headers)

    return ask


def is_json(answer: Any) -> bool:
    json.loads(answer.content)
    return bool(answer["Content-Type"] == "application/json")


@pytest.mark.parametrize("path", PATHS)
def test_a_path_answers_in_json(request_path: Any, path: str) -> None:
    answer = request_path("GET", path)
    assert answer.status_code == 200
    assert is_json(answer)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("verb", ["GET", "POST", "PUT", "DELETE"])
def test_a_path_with_a_trailing_slash_is_a_404(request_path: Any, ann: Person, verb: str, path: str) -> None:
    answer = APIClient().generic(verb, f"{path.format(id=ann.pk)}/?{PATHS[path][0]}")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not found."})
    assert is_json(answer)


@pytest.mark.parametrize(
    "path", ["/api", "/api/nothing", "/api/persons/", "/api/persons/1/connections", "/health/dead"]
)
def test_an_unknown_path_is_a_404(api: APIClient, path: str) -> None:
    answer = api.get(path, headers={"accept": "application/json"})
    assert answer.status_code == 404
    assert (is_json(answer), answer.json()) == (True, {"detail": "Not found."})


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("verb", VERBS)
def test_an_unsupported_method_is_a_405_that_lists_the_allowed_ones(
    request_path: Any, verb: str, path: str
) -> None:
    allowed = PATHS[path][1].split()
    answer = request_path(verb, path, json.dumps(ADA).encode() if verb in ("POST", "PUT", "PATCH") else b"")
    if verb in allowed:
        assert answer.status_code != 405
    else:
        assert (answer.status_code, is_json(answer)) == (405, True)
        assert set(answer["Allow"].split(", ")) == {*allowed, "HEAD", "OPTIONS"}
        assert answer.json() == {"detail": f'Method "{verb}" not allowed.'}


@pytest.mark.parametrize("path", PATHS)
def test_options_describes_a_path(request_path: Any, path: str) -> None:
    answer = request_path("OPTIONS", path)
    assert (answer.status_code, is_json(answer)) == (200, True)
    assert "application/json" in answer.json()["renders"]


@pytest.mark.parametrize("path", PATHS)
def test_head_is_get_without_a_body(request_path: Any, path: str) -> None:
    answer = request_path("HEAD", path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer["Content-Type"] == "application/json"


# --- formats -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("accept", ["image/png", "application/xml", "text/csv;q=0.5, image/*", "nonsense"])
def test_an_unavailable_format_is_a_406_in_json(request_path: Any, path: str, accept: str) -> None:
    if "csv" in accept and "encounters" in path:
        assert request_path("GET", path, accept=accept)["Content-Type"].startswith("text/csv")
        return
    answer = request_path("GET", path, accept=accept)
    assert (answer.status_code, is_json(answer)) == (406, True)
    assert set(answer.json()) == {"detail"}


@pytest.mark.parametrize(
    "accept", ["application/json", "*/*", "application/*", "text/html;q=0.1, */*;q=0.01, application/json"]
)
@pytest.mark.parametrize("path", PATHS)
def test_json_is_sent_if_accepted(request_path: Any, path: str, accept: str) -> None:
    answer = request_path("GET", path, accept=accept)
    assert (answer.status_code, is_json(answer)) == (200, True)


@pytest.mark.parametrize("path", PATHS)
def test_an_unknown_format_is_a_404_in_json(request_path: Any, path: str) -> None:
    answer = request_path("GET", path, more="&format=nonsense")
    assert (answer.status_code, is_json(answer)) == (404, True)


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/vnd.api+json",
        "nonsense",
        "",
    ],
)
@pytest.mark.parametrize(("path", "verb"), BODY_OPERATIONS)
def test_another_content_type_is_a_415(request_path: Any, path: str, verb: str, kind: str) -> None:
    answer = request_path(verb, path, json.dumps(ADA).encode(), content_type=kind)
    assert (answer.status_code, is_json(answer)) == (415, True)
    assert set(answer.json()) == {"detail"}


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "Application/JSON", "application/json;x=y"]
)
def test_the_json_content_type_may_have_parameters(api: APIClient, kind: str) -> None:
    assert api.generic("POST", "/api/persons", json.dumps(ADA).encode(), kind).status_code == 201


# --- invalid bodies ------------------------------------------------------------------------------

INVALID_JSON = {
    "cut off": b'{"first_name": "Ada"',
    "empty": b" ",
    "words": b"first_name=Ada",
    "single quotes": b"{'first_name': 'Ada'}",
    "two values": b"{}{}",
    "a comma too many": b'{"first_name": "Ada",}',
    "NaN": b'{"latitude": NaN}',
    "Infinity": b'{"latitude": Infinity}',
    "-Infinity": b'[{"latitude": -Infinity}]',
    "a number beyond doubles": b'{"latitude": 1e999}',
    "an integer beyond doubles": b'{"latitude": 1' + b"0" * 400 + b"}",
    "Latin-1": '{"first_name": "Zoë"}'.encode("latin-1"),
    "UTF-16": '{"first_name": "Ada"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"first_name": "Ada"}',
    "an overlong code": b'{"first_name": "\xc0\xaf"}',
    "a surrogate in bytes": b'{"first_name": "\xed\xa0\x80"}',
    "a lone surrogate": b'{"first_name": "\\ud800"}',
    "a raw control character": b'{"first_name": "\x00"}',
    "arrays 100,000 deep": b"[" * 100_000 + b"]" * 100_000,
    "objects 100,000 deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
}


@pytest.mark.parametrize("fault", INVALID_JSON)
@pytest.mark.parametrize(("path", "verb"), BODY_OPERATIONS)
def test_invalid_json_is_a_400(request_path: Any, path: str, verb: str, fault: str) -> None:
    answer = request_path(verb, path, INVALID_JSON[fault])
    assert (answer.status_code, is_json(answer)) == (400, True)
    assert list(answer.json()) == ["detail"]
    assert answer.json()["detail"].startswith("JSON parse error - ")


@pytest.mark.parametrize("depth", [10, 500])
@pytest.mark.parametrize(("path", "verb"), BODY_OPERATIONS)
def test_readable_deep_nesting_is_a_400(request_path: Any, path: str, verb: str, depth: int) -> None:
    answer = request_path(verb, path, b'{"first_name": ' + b"[" * depth + b"]" * depth + b"}")
    assert (answer.status_code, is_json(answer)) == (400, True)
    assert "first_name" in answer.json()


def test_an_empty_body_is_an_empty_object(request_path: Any) -> None:
    assert request_path("POST", "/api/persons").status_code == 400
    assert request_path("POST", "/api/locations").status_code == 400
    assert request_path("PATCH", "/api/persons/{id}").status_code == 200


def test_too_many_parameters_are_a_400_in_json(request_path: Any) -> None:
    answer = request_path("GET", "/api/persons", more="&id=5" * 6000)
    assert (answer.status_code, is_json(answer)) == (400, True)


# --- CORS ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_cors_allows_the_web_app_and_exposes_headers(request_path: Any, path: str) -> None:
    answer = request_path("GET", path, origin=settings.APP_URL)
    assert answer["Access-Control-Allow-Origin"] == settings.APP_URL
    exposed = answer["Access-Control-Expose-Headers"].split(", ")
    assert {"Link", "Location", "Retry-After"} <= set(exposed)


@pytest.mark.parametrize("path", PATHS)
def test_cors_preflight_of_the_web_app_succeeds(request_path: Any, path: str) -> None:
    wanted = {"access-control-request-method": "PUT", "access-control-request-headers": "content-type"}
    answer = request_path("OPTIONS", path, origin=settings.APP_URL, **wanted)
    assert answer.status_code == 200
    assert answer["Access-Control-Allow-Origin"] == settings.APP_URL
    assert "PUT" in answer["Access-Control-Allow-Methods"]
    assert "content-type" in answer["Access-Control-Allow-Headers"]


def test_cors_allows_the_web_app_to_read_errors(request_path: Any) -> None:
    answer = request_path("GET", "/api/persons", more="&limit=0", origin=settings.APP_URL)
    assert answer.status_code == 400
    assert answer["Access-Control-Allow-Origin"] == settings.APP_URL


@pytest.mark.parametrize("origin", ["http://elsewhere.example", "null", f"{settings.APP_URL}0"])
def test_cors_refuses_other_origins(request_path: Any, origin: str) -> None:
    answer = request_path("GET", "/api/persons", origin=origin)
    assert not answer.has_header("Access-Control-Allow-Origin")


def test_cors_origins_can_be_added_by_a_setting(request_path: Any, settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS = [*settings.CORS_ALLOWED_ORIGINS, "http://elsewhere.example"]
    answer = request_path("GET", "/api/persons", origin="http://elsewhere.example")
    assert answer["Access-Control-Allow-Origin"] == "http://elsewhere.example"


def test_the_docs_are_read_only(api: APIClient) -> None:
    for path in ("/api/docs", "/api/redoc", "/api/schema"):
        assert api.options(path).status_code in (200, 405)
        assert api.post(path).status_code == 405


@pytest.mark.django_db
def test_a_full_request_line_of_parameters_is_accepted(api: APIClient) -> None:
    answer = api.get("/api/persons?" + "&".join(["id=1"] * 1500))
    assert (answer.status_code, answer.json()) == (200, [])


# --- JSON clients on HTML paths -------------------------------------------------------------------

JSON_CLIENT = {"accept": "application/json"}
BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.mark.parametrize("path", ["/persons", "/api", "/nothing/", "/internal/persons/x", "/~"])
def test_a_json_client_gets_the_404_in_json_on_any_path(api: APIClient, path: str) -> None:
    for verb in ("GET", "POST", "DELETE"):
        answer = api.generic(verb, path, headers=JSON_CLIENT)
        assert (answer.status_code, is_json(answer)) == (404, True)
        assert answer.json() == {"detail": "Not found."}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/admin/login/", 406),
        ("/api/docs", 406),
        ("/api/redoc", 406),
        ("/admin/", 302),
        ("/admin/nothing", 302),
    ],
)
def test_a_page_for_a_client_of_json_is_refused_in_json(api: APIClient, path: str, status: int) -> None:
    answer = api.get(path, headers=JSON_CLIENT)
    assert (answer.status_code, is_json(answer)) == (status, True)
    assert list(answer.json()) == ["detail"]
    assert int(answer["Content-Length"]) == len(answer.content)
    assert api.get(path, headers=BROWSER)["Content-Type"].startswith("text/html")


def test_a_form_without_its_token_is_refused_in_json(ann: Person) -> None:
    answer = APIClient(enforce_csrf_checks=True).post(
        "/admin/login/", "a=b", content_type="application/x-www-form-urlencoded", headers=JSON_CLIENT
    )
    assert (answer.status_code, is_json(answer)) == (403, True)


@pytest.mark.parametrize("path", ["/nothing", "/persons"])
def test_a_browser_gets_the_404_as_a_page(api: APIClient, path: str) -> None:
    answer = api.get(path, headers=BROWSER)
    assert (answer.status_code, answer["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert "Accept" in answer["Vary"]


def test_an_unknown_parameter_with_an_unreadable_body_is_a_400_for_a_browser(api: APIClient) -> None:
    answer = api.generic("POST", "/api/persons?Limit=1", "{", content_type="", headers=BROWSER)
    assert answer.status_code == 400
    assert b"Unknown parameter." in answer.content


# --- entry points --------------------------------------------------------------------------------


def test_the_root_redirects_a_browser_to_the_docs(api: APIClient) -> None:
    answer = api.get("/", headers=BROWSER)
    assert (answer.status_code, answer["Location"]) == (302, "/api/docs")
    assert api.get("/api/", headers=BROWSER)["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("path", ["/", "/api/"])
@pytest.mark.parametrize("accept", ["application/json", "*/*"])
def test_other_clients_get_the_entry_points(api: APIClient, path: str, accept: str) -> None:
    answer = api.get(path, headers={"accept": accept, "authorization": "Bearer of nobody"})
    assert (answer.status_code, is_json(answer)) == (200, True)
    assert answer.json()["persons"] == "/api/persons"
    for name, there in answer.json().items():
        assert api.get(there, {"limit": 1} if name in ("persons", "locations") else {}).status_code == 200


def test_the_root_is_read_only(api: APIClient) -> None:
    for path in ("/", "/api/"):
        answer = api.post(path, headers=JSON_CLIENT)
        assert (answer.status_code, is_json(answer)) == (405, True)
        assert "GET" in answer["Allow"]


# --- caching -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", API_PATHS)
def test_api_responses_have_no_store(request_path: Any, path: str) -> None:
    for verb in PATHS[path][1].split():
        assert request_path(verb, path, json.dumps(ADA).encode())["Cache-Control"] == "no-store", verb
    assert request_path("GET", path, more="&colour=red")["Cache-Control"] == "no-store"


# --- CORS: both loopback names -------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["http://127.0.0.1:30000", "http://localhost:30000"])
def test_cors_allows_the_web_app_under_both_loopback_names(request_path: Any, origin: str) -> None:
    answer = request_path("GET", "/api/persons", origin=origin)
    assert answer["Access-Control-Allow-Origin"] == origin
    wanted = {"access-control-request-method": "PUT", "access-control-request-headers": "authorization"}
    assert (
        request_path("OPTIONS", "/api/persons", origin=origin, **wanted)["Access-Control-Allow-Origin"]
        == origin
    )


@pytest.mark.parametrize(
    "origin", ["https://localhost:30000", "http://localhost", "http://localhost:30000.evil.example"]
)
def test_cors_refuses_similar_origins(request_path: Any, origin: str) -> None:
    assert not request_path("GET", "/api/persons", origin=origin).has_header("Access-Control-Allow-Origin")
