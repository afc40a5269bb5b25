"""Every message of every app, through its door: the answer, what is stored, what is counted as refused."""

import base64
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rest_framework.test import APIClient

from access import services as access
from access.callers import Kind
from locations import quota
from locations.models import Location
from locations.quota import BURST
from persons.models import Person
from phones.models import RefusedPoints
from phones.tests.messages import ANSWERS, LATITUDE, LONGITUDE, Message, all_messages, table

pytestmark = pytest.mark.django_db

MOMENT = datetime(2026, 5, 11, 9, 30, tzinfo=UTC)
NOW = datetime.now(UTC).replace(microsecond=0)
IN_OPEN_MODE = all_messages(MOMENT, "1000001")
WITH_TOKENS = all_messages(NOW, "TOKEN")


def send(api: APIClient, message: Message, **headers: str) -> Any:
    kind = message.content_type
    return api.generic(message.method, message.path, message.body, content_type=kind, headers=headers)


def basic(user: object, password: str = "") -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


@pytest.fixture
def finn() -> Person:
    return Person.objects.create(id=1000001, first_name="Finn", last_name="Brandt", company_name="Amber")


@pytest.fixture
def token(finn: Person, settings: Any) -> str:
    settings.ACCESS = "tokens"
    return token_of(finn.pk, finn.pk)


def token_of(first: int, last: int, kind: Kind = Kind.INGEST) -> str:
    return access.make(name="phone", kind=kind, first_person_id=first, last_person_id=last)[1]


def names(message: Message) -> str:
    return f"{message.app}: {message.kind}"


def check(answer: Any, message: Message, moment: datetime) -> None:
    assert (answer.status_code, answer.content.decode()) == (200, ANSWERS[message.app].replace(" ", ""))
    assert answer["Content-Type"] == "application/json"
    stored = [
        (each.person_id, each.latitude, each.longitude, each.creation_time, each.accuracy)
        for each in Location.objects.all()
    ]
    assert stored == [
        (1000001, LATITUDE, LONGITUDE, moment, radius) for radius in message.stored[:1]
    ]  # positions of one batch have the same time
    assert counts() == {(message.app, 1000001, reason): 1 for reason in message.refused}


def counts() -> dict[tuple[str, int | None, str], int]:
    return {(each.app, each.person_id, each.reason): each.count for each in RefusedPoints.objects.all()}


@pytest.mark.parametrize("message", IN_OPEN_MODE, ids=names)
def test_in_open_mode_the_app_names_the_person(api: APIClient, finn: Person, message: Message) -> None:
    check(send(api, message, authorization=basic(finn.pk)), message, MOMENT)


@pytest.mark.parametrize("message", WITH_TOKENS, ids=names)
def test_with_tokens_the_token_is_of_the_person(api: APIClient, token: str, message: Message) -> None:
    body = message.body.replace(b"TOKEN", token.encode())
    message = Message(**vars(message) | {"body": body, "query": message.query.replace("TOKEN", token)})
    header = {"overland": f"Bearer {token}", "osmand": ""}.get(message.app, basic("finn", token))
    check(send(api, message, **({"authorization": header} if header else {})), message, NOW)


@pytest.mark.parametrize("app", ["owntracks", "gpslogger"])
def test_bearer_works_too(api: APIClient, token: str, app: str) -> None:
    message = next(each for each in WITH_TOKENS if each.app == app)
    check(send(api, message, authorization=f"Bearer {token}"), message, NOW)


def test_the_table_of_the_documents_is_current() -> None:
    text = Path("docs/phones.md").read_text()
    assert table() in text


# --- who is calling ------------------------------------------------------------------------------


def first_of(app: str) -> Message:
    return next(each for each in WITH_TOKENS if each.app == app)


@pytest.mark.parametrize("app", ANSWERS)
@pytest.mark.parametrize("shown", ["nothing", "another token", "a word"])
def test_without_a_valid_token_nothing_is_stored(api: APIClient, token: str, app: str, shown: str) -> None:
    key = {"nothing": "", "another token": token[:-1] + "~", "a word": "word"}[shown]
    message = first_of(app)
    message = Message(**vars(message) | {"query": message.query.replace("TOKEN", key)})
    headers = {"authorization": basic("finn", key)} if key and app != "osmand" else {}
    answer = send(api, message, **headers)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Basic" if app in ("owntracks", "gpslogger") else "Bearer")
    assert not Location.objects.exists()
    assert not RefusedPoints.objects.exists()


@pytest.mark.parametrize(
    "value",
    ["Basic", "Basic !", "Basic /w==", "basic  YQ==", "Digest x", "Basic YTpi\t", "Basic \xe9", "\xe9"],
)
def test_a_bad_authorization_is_a_401(api: APIClient, token: str, value: str) -> None:
    assert send(api, first_of("owntracks"), authorization=value).status_code == 401


@pytest.mark.parametrize("kind", [Kind.PERSON, Kind.STAFF])
def test_a_token_that_only_reads_may_not_send(
    api: APIClient, token: str, kind: Kind, admin_user: Any
) -> None:
    if kind is Kind.PERSON:
        key = access.make(name="-", kind=kind, first_person_id=1000001)[1]
        expected = 403
    else:
        key = access.make(name="-", kind=kind, user=admin_user)[1]
        expected = 200  # staff may send for anybody, and the user name says for whom
    answer = send(api, first_of("owntracks"), authorization=basic(1000001, key))
    assert answer.status_code == expected


def test_the_token_of_several_people_needs_the_persons_id(api: APIClient, token: str) -> None:
    key = token_of(1000000, 1000009)
    refused = send(api, first_of("owntracks"), authorization=basic("finn", key))
    assert refused.status_code == 400
    assert refused.json()["detail"].startswith("Whose position is this?")
    assert send(api, first_of("owntracks"), authorization=basic(1000001, key)).status_code == 200
    assert Location.objects.get().person_id == 1000001


def test_an_app_cannot_name_another_person(api: APIClient, token: str, person: Any) -> None:
    other = person("Bo")
    assert send(api, first_of("owntracks"), authorization=basic(other.pk, token)).status_code == 200
    assert Location.objects.get().person_id == 1000001
    key = token_of(1000000, 1000009)
    assert send(api, first_of("owntracks"), authorization=basic(other.pk, key)).status_code == 200
    assert counts() == {("owntracks", other.pk, "person_id: There is no such person."): 1}
    assert Location.objects.count() == 1


def test_a_person_who_does_not_exist_is_counted_without_an_id(api: APIClient, db: None) -> None:
    message = next(each for each in all_messages(MOMENT, "77") if each.app == "owntracks")
    for user in (77, 78, 10**30):
        assert send(api, message, authorization=basic(user)).json() == []
    assert counts() == {("owntracks", None, "person_id: There is no such person."): 3}


@pytest.mark.parametrize("body", [b"{", b'{"lat": 1, "lon": 2}', b'{"_type": "encrypted"}'])
def test_what_is_no_position_needs_no_person(api: APIClient, db: None, body: bytes) -> None:
    assert send(api, Message("owntracks", "-", body), authorization=basic("finn")).json() == []
    assert [each[1] for each in counts()] == [None]


def test_a_batch_goes_on_over_a_feature_without_properties(api: APIClient, finn: Person) -> None:
    good = json.loads(next(each for each in IN_OPEN_MODE if each.kind == "a batch of two").body)
    body = json.dumps({"locations": [{"geometry": {}}, *good["locations"]]}).encode()
    assert send(api, Message("overland", "-", body)).json() == {"result": "ok"}
    assert Location.objects.count() == 1
    assert list(counts().values()) == [1]


ELSEWHERE = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"sec-fetch-site": "cross-site"},
]


@pytest.mark.parametrize("headers", ELSEWHERE)
def test_in_open_mode_a_page_of_another_website_sends_nothing(
    api: APIClient, finn: Person, headers: dict[str, str]
) -> None:
    for message in (
        next(each for each in IN_OPEN_MODE if each.app == app and each.stored) for app in ANSWERS
    ):
        answer = send(api, message, authorization=basic(finn.pk), **headers)
        assert answer.status_code == 403, message.app
    for path in ("/api/locations", f"/api/persons/{finn.pk}/erasure", "/api/persons"):
        assert api.post(path, {}, headers=headers).status_code == 403
    assert api.delete(f"/api/persons/{finn.pk}", headers=headers).status_code == 403
    assert Person.objects.filter(pk=finn.pk).exists()
    assert not Location.objects.exists()
    assert api.get("/api/persons?limit=1", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://127.0.0.1:30000", "sec-fetch-site": "same-site"},
        {"origin": "http://testserver", "sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
        {},
    ],
)
def test_in_open_mode_the_app_and_programs_may_send(
    api: APIClient, finn: Person, headers: dict[str, str]
) -> None:
    assert send(api, IN_OPEN_MODE[0], authorization=basic(finn.pk), **headers).status_code == 200
    assert Location.objects.count() == 1


@pytest.mark.parametrize("user", ["finn", "", "1.5"])
def test_in_open_mode_a_user_name_that_is_no_id_is_a_400(api: APIClient, finn: Person, user: str) -> None:
    answer = send(api, IN_OPEN_MODE[0], authorization=basic(user))
    assert answer.status_code == 400
    assert not RefusedPoints.objects.exists()


# --- queues --------------------------------------------------------------------------------------


def test_a_message_that_is_sent_again_is_stored_once(api: APIClient, finn: Person) -> None:
    for message in [each for each in IN_OPEN_MODE if each.stored] * 2:
        assert send(api, message, authorization=basic(finn.pk)).status_code == 200
    assert Location.objects.count() == 1


def test_an_old_position_is_refused_and_counted_by_day(api: APIClient, token: str) -> None:
    old = all_messages(NOW - timedelta(days=9), "TOKEN")[0]
    for _ in range(3):
        assert send(api, old, authorization=basic("finn", token)).json() == []
    (((_, _, reason), count),) = counts().items()
    assert reason.startswith("creation_time: Must be at most 72 hours ago")
    assert count == 3


def test_more_than_the_quota_is_a_429_so_that_the_app_keeps_its_points(api: APIClient, token: str) -> None:
    quota._quota.cache_clear()
    quota._quota(":memory:").add(Counter({1000001: BURST}))
    try:
        answer = send(api, first_of("owntracks"), authorization=basic("finn", token))
        assert answer.status_code == 429
        assert int(answer["Retry-After"]) >= 1
    finally:
        quota._quota.cache_clear()


def test_a_refused_point_that_cannot_be_counted_is_a_503(
    api: APIClient, token: str, settings: Any, free_port: int
) -> None:
    message = next(each for each in WITH_TOKENS if each.app == "owntracks" and each.refused)
    assert send(api, first_of("owntracks"), authorization=basic("finn", token)).status_code == 200
    settings.PERSONS_URL = f"http://127.0.0.1:{free_port}"
    answer = send(api, message, authorization=basic("finn", token))
    assert answer.status_code == 503
    assert answer["Retry-After"] == "2"


@pytest.mark.parametrize("accept", ["text/html", "text/plain", "image/png", "*/*"])
def test_every_accept_header_gets_the_answer(api: APIClient, finn: Person, accept: str) -> None:
    answer = send(api, IN_OPEN_MODE[0], authorization=basic(finn.pk), accept=accept)
    assert (answer.status_code, answer.content) == (200, b"[]")


@pytest.mark.parametrize(
    ("app", "body", "query"),
    [
        ("osmand", b"", "&".join(f"a{n}=1" for n in range(500))),
        ("osmand", b"&".join(b"a=1" for _ in range(10_000)), ""),
        ("osmand", b"\xff\xfe=\x00", ""),
        ("osmand", b"", "id=%FF%FE&lat=%zz"),
        ("gpslogger", b"[" * 50_000, ""),
        ("owntracks", b'{"_type":' + b"[" * 50_000, ""),
        ("overland", b'{"locations":[1,null,[],{"geometry":{}},{"properties":{}}]}', ""),
    ],
)
def test_garbage_is_answered(api: APIClient, token: str, app: str, body: bytes, query: str) -> None:
    message = Message(app, "garbage", body, query, content_type="")
    authorization = f"Bearer {token}"
    answer = send(api, message, authorization=authorization)
    assert answer.status_code == (401 if "id=" in query else 200)


# --- counts --------------------------------------------------------------------------------------


def test_the_admin_lists_refused_points_and_counts_those_of_today(
    api: APIClient, finn: Person, admin_client: Any
) -> None:
    message = next(each for each in IN_OPEN_MODE if each.refused)
    for _ in range(3):
        send(api, message, authorization=basic(finn.pk))
    page = admin_client.get("/admin/phones/refusedpoints/?q=1000001").content.decode()
    assert "1000001" in page
    assert message.refused[0].replace("'", "&#x27;") in page
    front = admin_client.get("/admin/").content.decode()
    assert "Refused points today" in front
    assert admin_client.get("/admin/phones/refusedpoints/add/").status_code == 403


def test_the_counts_go_with_the_person(api: APIClient, finn: Person) -> None:
    for message in IN_OPEN_MODE:
        send(api, message, authorization=basic(finn.pk))
    assert RefusedPoints.objects.filter(person_id=finn.pk).count() > 5
    finn.delete()
    assert not RefusedPoints.objects.exists()
