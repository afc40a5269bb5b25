"""Webhooks over REST: staff create, list and delete them; the secret is shown once."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient
from standardwebhooks.webhooks import Webhook as Signer

from access import services as access
from access.callers import Kind
from access.models import Question
from persons.models import Person
from webhooks import limits
from webhooks.models import Delivery, Webhook
from webhooks.tests.conftest import add, message

pytestmark = [pytest.mark.django_db, pytest.mark.urls("connect.api_urls")]

URL = "https://example.org/connect"
ALL = ["encounter.started", "encounter.ended"]


def create(api: APIClient, **fields: Any) -> Any:
    answer = api.post("/api/webhooks", {"url": URL, "events": ALL} | fields)
    return answer.status_code, answer.json()


def test_a_webhook_is_created_and_its_secret_shown_once(api: APIClient):
    answer = api.post("/api/webhooks", {"url": URL, "events": ALL})

    created = answer.json()
    assert answer.status_code == 201
    assert answer["Location"] == f"/api/webhooks/{created['id']}"
    secret = created.pop("secret")
    assert secret.startswith("whsec_")
    Signer(secret)
    nothing = {"person_id": None, "company": None, "min_duration": None}
    assert created == {
        "id": created["id"],
        "url": URL,
        "events": ALL,
        **nothing,
        "created": created["created"],
        "active": True,
    }
    assert api.get("/api/webhooks").json() == [created]
    assert api.get(answer["Location"]).json() == created
    assert Webhook.objects.get().secret == secret


def test_filters_are_stored(api: APIClient, ann: Person):
    filters = {"person_id": ann.id, "company": "Acme", "min_duration": 60.5}
    _, created = create(api, events=["encounter.ended", "encounter.ended"], **filters)
    assert created | filters | {"events": ["encounter.ended"]} == created


def test_a_webhook_is_deleted_with_what_waits_for_it(api: APIClient, ann: Person, bo: Person):
    _, created = create(api)
    _, other = create(api)
    assert add(message(ann.id, bo.id)) == 2

    assert api.delete(f"/api/webhooks/{created['id']}").status_code == 204

    assert [each["id"] for each in api.get("/api/webhooks").json()] == [other["id"]]
    assert Delivery.objects.get().webhook_id == other["id"]
    gone = api.delete(f"/api/webhooks/{created['id']}")
    assert (gone.status_code, gone.json()) == (404, {"detail": f"There is no webhook {created['id']}."})
    assert api.get(f"/api/webhooks/{created['id']}").status_code == 404
    assert api.get(f"/api/webhooks/{2**70}").status_code == 404
    assert api.delete(f"/api/webhooks/{2**70}").status_code == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"url": "ftp://example.org"}, "url"),
        ({"url": "https://10.0.0.1/"}, "url"),
        ({"url": "http://[::ffff:127.0.0.1]/"}, "url"),
        ({"url": ""}, "url"),
        ({"url": 5}, "url"),
        ({"url": "https://example.org/" + "a" * 2000}, "url"),
        ({"events": []}, "events"),
        ({"events": ["encounter"]}, "events"),
        ({"events": "encounter.ended"}, "events"),
        ({"events": [1]}, "events"),
        ({"events": [*ALL, "encounter.ended"]}, "events"),
        ({"person_id": "1"}, "person_id"),
        ({"person_id": 0}, "person_id"),
        ({"person_id": 2**63}, "person_id"),
        ({"person_id": 999_999}, "person_id"),
        ({"person_id": True}, "person_id"),
        ({"company": " "}, "company"),
        ({"min_duration": -1}, "min_duration"),
        ({"min_duration": "60"}, "min_duration"),
        ({"min_duration": 1e300}, "min_duration"),
        ({"secret": "whsec_AAAA"}, "secret"),
    ],
)
def test_a_wrong_webhook_is_refused_and_its_field_named(api: APIClient, change: Any, field: str):
    status, errors = create(api, **change)
    assert (status, list(errors)) == (400, [field])
    assert not Webhook.objects.exists()


def test_there_are_at_most_so_many(api: APIClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "MAX_WEBHOOKS", 2)
    assert [create(api)[0] for _ in range(3)] == [201, 201, 400]


# --- callers -------------------------------------------------------------------------------------


@pytest.fixture
def tokens(settings: Any, ann: Person) -> dict[str, str]:
    """With ACCESS=tokens: a token of each kind, by kind."""
    settings.ACCESS = "tokens"
    owners: dict[Kind, dict[str, Any]] = {
        Kind.STAFF: {"user": User.objects.create_superuser("organiser")},
        Kind.PERSON: {"first_person_id": ann.id},
        Kind.INGEST: {"first_person_id": ann.id},
        Kind.SERVICE: {},
    }
    return {kind: access.make(name=kind, kind=kind, **owner)[1] for kind, owner in owners.items()}


@pytest.mark.parametrize("kind", [None, Kind.PERSON, Kind.INGEST, Kind.SERVICE])
@pytest.mark.parametrize(
    ("verb", "path"),
    [("get", ""), ("post", ""), ("get", "/1"), ("delete", "/1")],
)
def test_webhooks_are_for_staff(
    api: APIClient, tokens: dict[str, str], kind: Kind | None, verb: str, path: str
):
    headers = {"authorization": f"Bearer {tokens[kind]}"} if kind else {}
    answer = getattr(api, verb)(f"/api/webhooks{path}", headers=headers)
    assert answer.status_code == (403 if kind else 401)


def test_staff_may_and_the_audit_log_has_it(api: APIClient, tokens: dict[str, str], ann: Person):
    headers = {"authorization": f"Bearer {tokens[Kind.STAFF]}"}
    body = {"url": URL, "events": ALL, "person_id": ann.id}
    created = api.post("/api/webhooks", body, headers=headers)
    assert created.status_code == 201
    path = f"/api/webhooks/{created.json()['id']}"
    assert api.get("/api/webhooks", headers=headers).status_code == 200
    assert api.get(path, headers=headers).status_code == 200
    assert api.delete(path, headers=headers).status_code == 204

    noted = Question.objects.order_by("id").values_list("what", "person_id", "outcome")
    assert [*noted] == [
        ("POST webhooks", ann.id, "201"),
        ("GET webhooks", ann.id, "200"),
        ("GET webhook", ann.id, "200"),
        ("DELETE webhook", None, "204"),
    ]
