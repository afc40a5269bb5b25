"""The browsable pages of the API, and docs that need no internet."""

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from rest_framework.test import APIClient

from persons.models import Person

pytestmark = pytest.mark.django_db

SCRIPT = "/api/docs?script="  # the script of the docs page
DAY = "start_date=2026-05-11&end_date=2026-05-11"
BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
PATHS = [
    "/api/persons",
    "/api/persons?search=ann",
    "/api/persons/{id}",
    "/api/locations?limit=5",
    "/api/locations/{id}-1778491800000000",
    f"/api/persons/{{id}}/connection?{DAY}",
    f"/api/persons/{{id}}/encounters?{DAY}",
]


@pytest.fixture
def page(api: APIClient, ann: Person) -> Callable[..., Any]:
    """Requests a page like a browser: `page("/api/persons/{id}")`."""
    ping = {"person_id": ann.pk, "latitude": 1, "longitude": 2, "creation_time": "2026-05-11T09:30:00Z"}
    api.post("/api/locations", ping)

    def show(path: str, verb: str = "GET", body: str = "") -> Any:
        path = path.format(id=ann.pk)
        return api.generic(verb, path, body, content_type="application/json", headers=BROWSER)

    return show


def text(answer: Any) -> str:
    assert answer["Content-Type"] == "text/html; charset=utf-8"
    return unescape(answer.content.decode())


@pytest.mark.parametrize("path", PATHS)
def test_every_path_has_a_page(page: Callable[..., Any], path: str) -> None:
    answer = page(path)
    assert answer.status_code == 200
    assert "HTTP 200 OK" in text(answer)


@pytest.mark.parametrize("path", [*PATHS, "/api/docs", "/api/redoc"])
def test_a_page_loads_no_external_resource(page: Callable[..., Any], path: str) -> None:
    sources = re.findall(r'(?:src|<link[^>]*href)="([^"]+)"', text(page(path)))
    assert sources
    assert [source for source in sources if not source.startswith(("/static/", "data:", SCRIPT))] == []
    for source in sources:
        if source.startswith("/static/"):
            assert finders.find(source.removeprefix("/static/")), source


@pytest.mark.parametrize("path", ["/api/docs", "/api/redoc"])
def test_the_docs_name_no_other_host(page: Callable[..., Any], path: str) -> None:
    html = text(page(path)) + (page(SCRIPT).content.decode() if path == "/api/docs" else "")
    assert re.findall(r"(?:https?:)?//[a-z][^\"' ]*", html) == []
    assert "/api/schema" in html


def test_the_external_schema_validator_is_disabled(page: Callable[..., Any]) -> None:
    assert '"validatorUrl": null' in page(SCRIPT).content.decode()


@pytest.mark.parametrize(
    ("path", "example"),
    [("/api/persons", "Lovelace"), ("/api/persons/{id}", "Ann"), ("/api/locations?limit=5", "13.4049540")],
)
def test_forms_are_prefilled_with_an_example(page: Callable[..., Any], path: str, example: str) -> None:
    [*_, form] = re.findall(r"<textarea[^>]*>(.*?)</textarea>", text(page(path)), re.DOTALL)
    assert example in form


@pytest.mark.parametrize("path", ["/api/persons", "/api/locations?limit=5", *PATHS[-2:]])
def test_a_page_links_to_working_examples(page: Callable[..., Any], path: str) -> None:
    links = re.findall(r'<a href="(\?[^"]+)"', text(page(path)))
    assert links
    base = path.partition("?")[0]
    for link in links:
        assert page(base + link.replace("&format=csv", "")).status_code == 200


def test_a_page_shows_100_rows_and_links_to_the_next(page: Callable[..., Any]) -> None:
    Person.objects.bulk_create(
        Person(first_name=f"A{i}", last_name="B", company_name="C") for i in range(150)
    )
    first = page("/api/persons")
    assert text(first).count('"first_name": ') >= 100
    assert '"A98"' in text(first)
    assert '"A99"' not in text(first)
    following = page(first["Link"][1:].partition(">")[0])
    assert '"A99"' in text(following)


def test_pages_show_the_result_of_every_method(page: Callable[..., Any], ann: Person) -> None:
    ada = '{"first_name": "Ada", "last_name": "Lovelace", "company_name": "Engines Ltd"}'
    ping = f'{{"person_id": {ann.pk}, "latitude": 1, "longitude": 2}}'
    bad = '{"latitude": 91}'
    for verb, path, body, status in [
        ("POST", "/api/persons", ada, "201 Created"),
        ("PUT", "/api/persons/{id}", ada, "200 OK"),
        ("PATCH", "/api/persons/{id}", '{"first_name": "Eve"}', "200 OK"),
        ("POST", "/api/locations", ping, "202 Accepted"),
        ("POST", "/api/locations", f"[{bad}]", "207 Multi-Status"),
        ("POST", "/api/locations", bad, "400 Bad Request"),
        ("POST", "/api/persons", "{", "400 Bad Request"),
        ("GET", "/api/persons/999999999", "", "404 Not Found"),
        ("PUT", "/api/persons/999999999", ada, "404 Not Found"),
        ("GET", "/api/persons?limit=0", "", "400 Bad Request"),
        ("PUT", "/api/persons", ada, "405 Method Not Allowed"),
        ("DELETE", "/api/persons/{id}", "", "204 No Content"),
    ]:
        answer = page(path, verb, body)
        assert f"HTTP {status}" in text(answer)
        assert answer.status_code == (200 if verb == "DELETE" else int(status[:3]))  # a 204 has no page


@pytest.mark.parametrize("path", PATHS)
def test_options_has_a_page(page: Callable[..., Any], path: str) -> None:
    assert "HTTP 200 OK" in text(page(path.partition("?")[0], "OPTIONS"))


def test_names_are_escaped(page: Callable[..., Any], ann: Person) -> None:
    ann.first_name = "<script>alert(1)</script>"
    ann.save()
    for path in ("/api/persons", "/api/persons/{id}"):
        assert b"<script>alert(1)" not in page(path).content
