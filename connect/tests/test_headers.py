"""Unreadable headers over real HTTP: an error in JSON, never a 500 and never HTML."""

import io
import socket
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from connect.middleware import Request, content_type_fault, session_key
from persons.models import Person
from tests.gunicorn_server import Server

pytestmark = pytest.mark.django_db(transaction=True)

INVALID_CHARSETS = [
    *("undefined", "punycode", "idna", "unicode_escape", "raw-unicode-escape", "unicode-escape"),
    *("zlib", "zlib_codec", "hex", "rot13", "rot_13", "base64", "bz2", "uu", "quopri", "quoted-printable"),
    *("mbcs", "oem", "nonsense", "utf-8\xfc", "\xe9", "..", "a" * 4000, "aliases", "utf_8.x", "%00"),
]
CHARSETS = [
    "utf-8",
    "UTF-8",
    "utf8",
    '"utf-8"',
    "us-ascii",
    "iso-8859-1",
    "latin1",
    "windows-1252",
    "utf-16",
    "",
]
PING = b'{"person_id": 1, "latitude": 1, "longitude": 2}'
UMLAUT_QUERY = "/api/persons?search=M%C3%BCller"


def content_type(parameter: str, kind: str = "application/json") -> dict[str, bytes]:
    return {"Content-Type": f"{kind}; {parameter}".encode("latin-1")}


def is_refused(answer: requests.Response, status: int) -> bool:
    return (answer.status_code, list(answer.json())) == (status, ["detail"])


@pytest.mark.parametrize("charset", INVALID_CHARSETS)
def test_a_charset_that_is_no_text_encoding_is_a_415(server: Server, charset: str) -> None:
    headers = content_type(f"charset={charset}")
    for verb, path, body in [
        ("GET", "/api/persons", None),
        ("GET", UMLAUT_QUERY, None),
        ("GET", UMLAUT_QUERY, b"{}"),
        ("GET", "/api/nothing?x=1", None),
        ("POST", "/api/locations", PING),
        ("POST", "/api/locations?x=1", PING),
        ("POST", "/api/persons", None),
        ("POST", "/admin/login/?next=/admin/", b"username=a"),
        ("DELETE", "/api/persons/1?x=1", None),
    ]:
        assert is_refused(server.ask(verb, path, data=body, headers=headers), 415), f"{verb} {path}"


@pytest.mark.parametrize(
    "parameter",
    ["charset*=undefined''x", "x*=nonsense''%41", "x*0*=punycode''%41", "charset*0=utf-8", "a* =b"],
)
def test_an_extended_parameter_is_a_415(server: Server, parameter: str) -> None:
    assert is_refused(server.get(UMLAUT_QUERY, headers=content_type(parameter)), 415)
    assert is_refused(server.post("/api/locations", data=PING, headers=content_type(parameter)), 415)


@pytest.mark.parametrize("accept", ["application/json; x*=undefined''%41", "text/html, */*; q*=idna''%41"])
def test_an_extended_parameter_in_accept_is_a_406(server: Server, accept: str) -> None:
    for path in (UMLAUT_QUERY, "/admin/login/", "/nothing", "/"):
        assert is_refused(server.get(path, headers={"Accept": accept}), 406)


def test_a_header_that_takes_long_to_parse_is_refused_by_its_length() -> None:
    """Django's parser takes quadratic time; test_linear_time.py has the growth of content_type_fault."""
    for size in (1_000, 31_000):
        assert "255 are allowed" in str(content_type_fault('a/b;x="' + ";" * size))
    request = Request(
        {"REQUEST_METHOD": "GET", "CONTENT_TYPE": 'a/b;x="' + ";" * 31_000, "wsgi.input": io.BytesIO()}
    )
    assert request.content_type == ""


@pytest.mark.parametrize("path", [UMLAUT_QUERY, "/api/nothing", "/admin/login/", "/"])
def test_a_long_accept_is_a_406_and_a_long_content_type_a_415(server: Server, path: str) -> None:
    long = 'a/b;x="' + ";" * 31_000
    assert is_refused(server.get(path, headers={"Accept": long}), 406)
    assert is_refused(server.get(path, headers={"Content-Type": long}), 415)


@pytest.mark.parametrize(
    ("cookies", "key"),
    [
        ("sessionid=abc", "abc"),
        ("a=1; sessionid=abc ;b=2", "abc"),
        ("", ""),
        ("sessionid=", ""),
        ("xsessionid=abc", ""),
        ("sessionid=junk; sessionid=abc", ""),
        ('sessionid="abc"', ""),
        ('sessionid="\\141bc"', ""),
    ],
)
def test_a_session_has_one_spelling(cookies: str, key: str) -> None:
    """The proxy counts calls by the cookie as it is sent."""
    assert session_key(cookies) == key
    request = Request({"REQUEST_METHOD": "GET", "HTTP_COOKIE": cookies, "wsgi.input": io.BytesIO()})
    assert request.COOKIES.get("sessionid", "") == key


@pytest.mark.parametrize("charset", CHARSETS)
def test_the_query_is_utf_8_for_any_charset(server: Server, charset: str) -> None:
    muller = Person.objects.create(first_name="Ann", last_name="Müller", company_name="Acme")
    answer = server.get(UMLAUT_QUERY, headers=content_type(f"charset={charset}"))
    assert [person["id"] for person in answer.json()] == [muller.pk]


@pytest.mark.parametrize("charset", CHARSETS)
def test_json_is_utf_8_for_any_charset(server: Server, charset: str) -> None:
    body = '{"first_name": "Zoë", "last_name": "Lee", "company_name": "Acme"}'.encode()
    answer = server.post("/api/persons", data=body, headers=content_type(f"charset={charset}"))
    assert (answer.status_code, answer.json()["first_name"]) == (201, "Zoë")


def test_cors_allows_the_web_app_to_read_the_415(server: Server) -> None:
    origin = {"Origin": "http://127.0.0.1:30000"}
    answer = server.get(UMLAUT_QUERY, headers=content_type("charset=undefined") | origin)
    assert answer.headers["Access-Control-Allow-Origin"] == origin["Origin"]


def test_a_codec_in_a_form_part_is_not_a_500(server: Server) -> None:
    part = "--x\r\nContent-Disposition: form-data; name*=undefined''%41\r\n\r\n1\r\n--x--\r\n"
    for charset in ("utf-8", "iso-8859-1"):
        headers = content_type(f"boundary=x; charset={charset}", "multipart/form-data")
        assert server.post("/admin/login/", data=part, headers=headers).status_code in (400, 403)


# --- arbitrary header values (Hypothesis) --------------------------------------------------------

WORDS = st.sampled_from(
    [
        *INVALID_CHARSETS,
        *CHARSETS,
        "charset=",
        "charset*=",
        "charset*0*=",
        "boundary=",
        ";",
        "=",
        "'",
        '"',
        "''",
        "*",
        ",",
        "application/json",
        "text/html",
        "multipart/form-data",
        "application/x-www-form-urlencoded",
        "*/*",
        "q=0",
    ]
)
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=20)
VALUES = st.lists(WORDS | TEXT, max_size=8).map(lambda parts: " ".join(parts).strip()[:7000])
PROPERTY = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def ask(server: Server, verb: str, path: str, **headers: str) -> requests.Response:
    raw = {name.replace("_", "-"): value.encode("latin-1") for name, value in headers.items()}
    return server.ask(verb, path, data=PING if verb == "POST" else None, headers=raw, allow_redirects=False)


@PROPERTY
@given(
    value=VALUES,
    verb=st.sampled_from(["GET", "POST"]),
    path=st.sampled_from([UMLAUT_QUERY, "/api/locations", "/nothing"]),
)
@example(value="text/plain; charset=undefined", verb="GET", path=UMLAUT_QUERY)
def test_no_content_type_causes_a_500_or_html(server: Server, value: str, verb: str, path: str) -> None:
    answer = ask(server, verb, path, Content_Type=value, Accept="application/json")
    assert answer.status_code < 500
    assert isinstance(answer.json(), list | dict)


@PROPERTY
@given(
    value=VALUES,
    path=st.sampled_from([UMLAUT_QUERY, "/api/schema", "/api/docs", "/nothing", "/admin/login/", "/"]),
)
def test_no_accept_causes_a_500(server: Server, value: str, path: str) -> None:
    assert ask(server, "GET", path, Accept=value).status_code < 500


@PROPERTY
@given(
    value=VALUES,
    name=st.sampled_from(
        [
            "Cookie",
            "Authorization",
            "Origin",
            "Referer",
            "Accept-Encoding",
            "If-None-Match",
            "If-Modified-Since",
            "X-Forwarded-For",
            "X-Forwarded-Proto",
            "Content-Disposition",
            "X-Request-ID",
            "Range",
            "Expect",
            "Host",
        ]
    ),
    path=st.sampled_from([UMLAUT_QUERY, "/api/schema", "/nothing", "/admin/login/"]),
)
def test_no_other_header_causes_a_500_or_html(server: Server, value: str, name: str, path: str) -> None:
    answer = ask(server, "GET", path, **{name.replace("-", "_"): value}, Accept="application/json")
    assert answer.status_code < 500
    assert "html" not in answer.headers.get("Content-Type", "")


@PROPERTY
@given(line=st.binary(max_size=60).map(lambda raw: raw.replace(b"\n", b" ")))
@example(line=b"GET /api/a b HTTP/1.1")
@example(line=b"OPTIONS * HTTP/1.1")
@example(line=b"CONNECT localhost:80 HTTP/1.1")
def test_no_request_line_causes_a_500_or_html(server: Server, line: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(line + b"\r\nHost: localhost\r\nAccept: application/json\r\nConnection: close\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        answer = client.makefile("rb").read()
    assert not answer.startswith(b"HTTP/1.1 5")
    assert b"<html" not in answer.lower()


@given(value=VALUES)
def test_content_type_fault_returns_none_or_text(value: str) -> None:
    found: Any = content_type_fault(value)
    assert found is None or isinstance(found, str)
