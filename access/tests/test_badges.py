"""Badges and tables of sign-in links: for whom, until when, and by whom."""

import csv
import io
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from access import services
from access.badges import MADE, in_a_month
from access.models import Question, SignInCode
from persons.models import Person

pytestmark = pytest.mark.django_db
LIST = "/admin/persons/person/"


@pytest.fixture
def three(person: Callable[..., Person]) -> list[Person]:
    return [person(f"Ann {n}", "Lee & Söhne") for n in range(3)]


def make(client: Client, people: list[Person], **fields: Any) -> Any:
    ids = [each.id for each in people]
    form = {"action": "make_badges", "_selected_action": ids, "select_across": "0", MADE: "Make badges"}
    return client.post(LIST, form | {"valid_until": in_a_month().isoformat()} | fields)


def test_the_form_says_for_how_many_people(admin_client: Client, three: list[Person]) -> None:
    ids = [each.id for each in three[:2]]
    page = admin_client.post(LIST, {"action": "make_badges", "_selected_action": ids, "select_across": "0"})
    assert "for each of 2 people" in page.content.decode()
    assert not SignInCode.objects.exists()


def test_a_badge_for_each_selected_person(admin_client: Client, three: list[Person], settings: Any) -> None:
    settings.APP_URL = "https://connect.example/"
    page = make(admin_client, three[:2])
    assert page.status_code == 200
    assert page["Cache-Control"].startswith(("max-age=0", "no-store"))
    text = page.content.decode()
    assert text.count('class="badge"') == 2
    assert "Ann 0 Lee &amp; Söhne" in text
    assert [each["link"].url.partition("#code=")[0] for each in page.context["badges"]] == [
        "https://connect.example/share"
    ] * 2
    codes = SignInCode.objects.order_by("person_id")
    assert [each.person_id for each in codes] == [each.id for each in three[:2]]
    assert {each.expiry_date.date() for each in codes} == {in_a_month()}
    code = page.context["badges"][0]["link"].url.partition("#code=")[2]
    assert services.exchange(code).token.first_person_id == three[0].id


def test_badges_for_everybody(admin_client: Client, three: list[Person]) -> None:
    assert len(make(admin_client, three[:1], select_across="1").context["badges"]) == 3


@pytest.mark.parametrize("day", ["", "soon", "2020-01-01", "2999-01-01"])
def test_a_day_that_does_not_suit_makes_no_codes(admin_client: Client, three: list[Person], day: str) -> None:
    page = make(admin_client, three, valid_until=day)
    assert "errorlist" in page.content.decode()
    assert not SignInCode.objects.exists()


def test_staff_without_all_rights_make_none(client: Client, three: list[Person]) -> None:
    user = User.objects.create_user("helper", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_person", "add_token"]))
    client.force_login(user)
    make(client, three)
    assert not SignInCode.objects.exists()


def test_the_audit_log_names_the_people(admin_client: Client, three: list[Person]) -> None:
    make(admin_client, three)
    assert set(Question.objects.values_list("person_id", flat=True)) >= {each.id for each in three}


def links(*arguments: str) -> list[dict[str, str]]:
    out = StringIO()
    call_command("tokens", "links", *arguments, stdout=out)
    return list(csv.DictReader(io.StringIO(out.getvalue())))


def test_the_command_prints_a_table_of_links(three: list[Person], settings: Any) -> None:
    first, last = three[0].id, three[-1].id
    rows = links("--people", f"{first}-{last + 1000}", "--days", "3")
    assert [int(each["person_id"]) for each in rows] == [each.id for each in three]
    assert rows[0]["last_name"] == "Lee & Söhne"
    assert services.exchange(rows[1]["url"].partition("#code=")[2]).token.first_person_id == three[1].id
    with pytest.raises(CommandError, match="There is no person from"):
        links("--people", f"{last + 1}-{last + 1000}")


def test_too_many_at_once_are_refused(three: list[Person], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "MAX_LINKS", 2)
    with pytest.raises(ValidationError, match="At most 2"):
        services.make_links([(1, 2**62)], expires=timezone.now() + timedelta(days=1))
    assert not SignInCode.objects.exists()


def test_too_many_badges_make_no_codes(
    admin_client: Client, three: list[Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("access.badges.MAX_BADGES", 2)
    assert "At most 2 badges" in make(admin_client, three).content.decode()
    assert not SignInCode.objects.exists()
