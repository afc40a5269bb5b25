"""Pings and requests that the tests of connections share."""

from datetime import UTC, datetime, timedelta
from typing import Any

from rest_framework.test import APIClient

from locations import storage
from locations.pings import Ping
from persons.models import Person

DAY = "start_date=2026-05-11&end_date=2026-05-11"
NINE = datetime(2026, 5, 11, 9, tzinfo=UTC)
METRE = 1 / 111_319.49  # degrees of longitude on the equator


def to_wire(person: Person) -> dict[str, Any]:
    return {
        "id": person.pk,
        "first_name": person.first_name,
        "last_name": person.last_name,
        "company_name": person.company_name,
    }


def stand(person: Person, *seconds: float, metres: float = 0, latitude: float = 0) -> None:
    """Stores pings `seconds` after nine, `metres` east of Greenwich."""
    storage.record([Ping(person.pk, NINE + timedelta(seconds=s), latitude, metres * METRE) for s in seconds])


def ask(api: APIClient, person: Person | int, path: str, query: str = DAY, **kwargs: Any) -> Any:
    person_id = person.pk if isinstance(person, Person) else person
    return api.get(f"/api/persons/{person_id}/{path}?{query}", **kwargs)
