"""One-time codes of sign-in links: exchanged once, expired, revoked, deleted with their person."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
import requests
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from access import services
from access.callers import Caller, Kind
from access.models import Question, SignInCode, Token
from persons.models import Person
from tests.gunicorn_server import Server

EXCHANGE = "/api/caller/exchange"


def make_code(person_id: int, *, days: float = 1, with_token: Token | None = None) -> str:
    """The code of a new link."""
    expires = timezone.now() + timedelta(days=days)
    return services.make_link(person_id, name="Ann", expires=expires, made_with=with_token).partition(
        "#code="
    )[2]


def tokens(*arguments: str) -> str:
    out = StringIO()
    call_command("tokens", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def exchange(api: APIClient) -> Callable[[str], Any]:
    return lambda code: api.post(EXCHANGE, {"code": code})


@pytest.mark.django_db
def test_a_code_is_exchanged_once_for_two_tokens(exchange: Callable[[str], Any], ann: Person) -> None:
    code = make_code(ann.id)
    answer = exchange(code)
    assert answer.status_code == 201, answer.content
    assert answer["Cache-Control"] == "no-store"
    token = Token.objects.get(kind=Kind.PERSON)
    assert answer.json()["person_id"] == ann.id
    key = answer.json()["token"]
    assert services.identify_tokens([key])[key] == Caller(
        Kind.PERSON, f"token {token.prefix}", (ann.id, ann.id), token.expiry_date.timestamp()
    )
    sender = services.identify_tokens([answer.json()["ingest_token"]])[answer.json()["ingest_token"]]
    assert (sender.kind, sender.people) == (Kind.INGEST, (ann.id, ann.id))
    expiry = SignInCode.objects.get().expiry_date
    assert {each.expiry_date for each in Token.objects.all()} == {expiry}
    assert list(Question.objects.values_list("what", "person_id")) == [("POST exchange", ann.id)]

    second = exchange(code)
    assert second.status_code == 404
    assert "used before" in second.json()["detail"]
    assert Token.objects.count() == 2


@pytest.mark.django_db
def test_a_code_is_not_a_token_and_only_its_hash_is_stored(ann: Person) -> None:
    code = make_code(ann.id)
    assert services.identify_tokens([code]) == {}
    with connection.cursor() as cursor:
        cursor.execute("SELECT access_signincode::text FROM access_signincode")
        assert code.partition(".")[2] not in cursor.fetchone()[0]


@pytest.mark.django_db
def test_an_expired_or_revoked_code_is_refused(exchange: Callable[[str], Any], ann: Person) -> None:
    expired, revoked = make_code(ann.id, days=0), make_code(ann.id)
    tokens("revoke", revoked.partition(".")[0])
    token, _ = services.make(name="Ann", kind=Kind.PERSON, first_person_id=ann.id)
    dependent = make_code(ann.id, with_token=token)
    tokens("revoke", token.prefix)
    for code, why in ((expired, "has expired"), (revoked, "was revoked"), (dependent, "was revoked")):
        answer = exchange(code)
        assert (answer.status_code, why in answer.json()["detail"]) == (404, True), answer.content
    assert Token.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ([], 400),
        ({"code": 5}, 400),
        ({"code": ""}, 400),
        ({"code": "a" * 201}, 400),
        ({"code": "x\0y"}, 400),
        ({"code": "a", "person_id": 1}, 400),
        ({"code": "abc"}, 404),
        ({"code": "abcdefgh." + "0" * 32}, 404),
        ({"code": "ключ"}, 404),
    ],
)
def test_a_malformed_or_unknown_code_is_refused(api: APIClient, ann: Person, body: Any, status: int) -> None:
    make_code(ann.id)
    answer = api.post(EXCHANGE, body)
    assert answer.status_code == status, answer.content
    assert b"Ann" not in answer.content
    assert not Token.objects.exists()


@pytest.mark.django_db
def test_a_persons_codes_are_deleted_with_the_person(
    person: Callable[..., Person], client: Client, exchange: Callable[[str], Any]
) -> None:
    ann, bo = person("Ann"), person("Bo")
    codes = [make_code(each.id) for each in (ann, bo)]
    client.force_login(User.objects.create_superuser("organiser"))
    pks = list(SignInCode.objects.values_list("pk", flat=True))
    client.post("/admin/access/signincode/", {"action": "revoke", "_selected_action": pks})
    assert {one.state for one in SignInCode.objects.all()} == {"revoked"}
    assert LogEntry.objects.filter(content_type__model="signincode").count() == 2
    gone = ann.id
    ann.delete()
    assert [one.person_id for one in SignInCode.objects.all()] == [bo.id]
    assert LogEntry.objects.filter(content_type__model="signincode").count() == 1
    assert exchange(codes[0]).status_code == 404
    with pytest.raises(ValidationError, match=f"no person {gone}"):
        make_code(gone)


@pytest.mark.django_db
def test_the_command_makes_lists_and_revokes_links(settings: Any, ann: Person) -> None:
    settings.APP_URL = "https://connect.example/"
    link = tokens("link", "--people", str(ann.id), "--days", "3", "--name", "Ann").strip()
    address, _, code = link.partition("#code=")
    assert address == "https://connect.example/"
    prefix = code.partition(".")[0]
    assert any(prefix in line and "usable" in line for line in tokens("list", "--usable").splitlines())
    assert code not in tokens("list")
    services.exchange(code)
    assert prefix not in tokens("list", "--usable")
    assert any(prefix in line and "used" in line for line in tokens("list").splitlines())
    with pytest.raises(CommandError, match="no person 999"):
        tokens("link", "--people", "999")


@pytest.fixture
def server(transactional_db: None) -> Iterator[Server]:
    with Server(WEB_WORKERS="1", WEB_THREADS="8", ACCESS="tokens") as running:
        yield running


def test_only_one_of_many_concurrent_exchanges_succeeds(server: Server, ann: Person) -> None:
    code = make_code(ann.id)
    start = threading.Barrier(8)
    answers: list[requests.Response] = []

    def exchange() -> None:
        start.wait()
        answers.append(server.post(EXCHANGE, json={"code": code}))

    threads = [threading.Thread(target=exchange) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.status_code for one in answers) == [201] + [404] * 7
    assert Token.objects.count() == 2
