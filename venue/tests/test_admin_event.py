"""The event in the admin site."""

from datetime import date

import pytest
from django.test import Client

from venue import storage


@pytest.mark.django_db
def test_a_second_event_cannot_be_added(admin_client: Client) -> None:
    assert admin_client.get("/admin/venue/event/add/").status_code == 200
    storage.replace(event=storage.Event("Expo", "UTC", date(2026, 5, 11), date(2026, 5, 12)))
    answer = admin_client.get("/admin/venue/event/add/")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/admin/venue/event/1/change/")
