"""Webhooks and deliveries in the admin site: the list of the given-up ones, and the action that resends."""

from collections.abc import Callable

import pytest
from django.test import Client

from access.models import Question
from webhooks.deliveries import deliver
from webhooks.models import Delivery, State, Webhook
from webhooks.tests.conftest import add, message
from webhooks.tests.receiver import Receiver

pytestmark = pytest.mark.usefixtures("people")

DELIVERIES, WEBHOOKS = "/admin/webhooks/delivery/", "/admin/webhooks/webhook/"


def test_given_up_deliveries_are_listed_and_sent_again(
    admin_client: Client, receiver: Receiver, webhook: Callable
):
    hook = webhook(receiver.url)
    add(message(1, 2), message(3, 4))
    receiver.answer = lambda _: 410
    deliver(hook.id)
    page = admin_client.get(f"{DELIVERIES}?state={State.GIVEN_UP}").content.decode()
    assert page.count("Answered 410: Oh no") == 2
    ids = [each.id for each in Delivery.objects.all()]
    resend = {"action": "resend_selected", "_selected_action": ids}
    assert "2 are not" in admin_client.post(DELIVERIES, resend, follow=True).content.decode()

    assert admin_client.post(f"{WEBHOOKS}{hook.id}/change/", {"active": "on"}).status_code == 302
    shown = admin_client.post(DELIVERIES, resend, follow=True).content.decode()

    assert "2 deliveries wait to be sent again" in shown
    receiver.answer = lambda _: 204
    deliver(hook.id)
    assert {each.state for each in Delivery.objects.all()} == {State.DELIVERED}


def test_no_page_shows_the_secret(admin_client: Client, webhook: Callable):
    hook = webhook("https://example.org/")
    add(message())
    for path in (WEBHOOKS, f"{WEBHOOKS}{hook.id}/change/", DELIVERIES):
        page = admin_client.get(path)
        assert page.status_code == 200
        assert "whsec_" not in page.content.decode()
        assert hook.secret[6:] not in page.content.decode()
    assert admin_client.get(f"{WEBHOOKS}add/").status_code == 403


def test_a_webhook_is_deleted_with_its_deliveries(admin_client: Client, webhook: Callable):
    hooks = [webhook("https://example.org/") for _ in range(3)]
    add(message())
    one, *others = [each.id for each in hooks]
    assert admin_client.post(f"{WEBHOOKS}{one}/delete/", {"post": "yes"}).status_code == 302
    selected = {"action": "delete_selected", "post": "yes", "_selected_action": others}
    assert admin_client.post(WEBHOOKS, selected).status_code == 302
    assert not Webhook.objects.exists()
    assert not Delivery.objects.exists()


def test_looking_at_deliveries_is_in_the_audit_log(admin_client: Client, webhook: Callable):
    webhook("https://example.org/")
    add(message(1, 2))
    [delivery] = Delivery.objects.all()
    admin_client.get(f"{DELIVERIES}{delivery.id}/change/")
    noted = Question.objects.filter(what="GET admin webhooks_delivery_change")
    assert sorted(noted.values_list("person_id", flat=True)) == [1, 2]
