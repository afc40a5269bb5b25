"""`manage.py simulate --live`: an event that takes place now."""

import itertools
import os
import signal
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from locations.models import Location
from persons.models import Person
from simulation.event import Event
from simulation.live import pings_from
from simulation.people import FIRST_ID, make_people
from simulation.venue import store
from tests.gunicorn_server import database_url, until
from venue import storage


def test_pings_are_sent_at_their_time_until_it_is_stopped(transactional_db: None) -> None:
    renamed = Person.objects.create(id=FIRST_ID, first_name="An", last_name="Other", company_name="Name")
    command = [sys.executable, "manage.py", "simulate", "--live", "--people=20", "--interval=1"]
    environ = os.environ | {"DATABASE_URL": database_url()}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            until(lambda: Location.objects.count() > 60)
            newest = Location.objects.latest("creation_time").creation_time
            assert newest <= timezone.now()
            assert timezone.now() - newest < timedelta(seconds=10)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()
        said = process.stdout.read() if process.stdout else ""
    assert "20 people, about 20 pings per second" in said
    assert "1 of the people were deleted or have other names" in said
    assert Person.objects.get(id=FIRST_ID) == renamed
    assert f"Stopped after {Location.objects.count()} pings" in said


@pytest.mark.django_db
def test_the_event_of_earlier_days_lasts_until_today() -> None:
    venue = {"time_zone": ZoneInfo("Europe/Berlin"), "halls": 1}
    now = datetime(2026, 6, 1, 23, tzinfo=UTC)  # the next day in Berlin
    opening = datetime(2026, 5, 11, 9, tzinfo=UTC)
    store(opening=opening, closing=opening + timedelta(hours=8), **venue)
    store(opening=now, closing=now, **venue)
    assert storage.event().first_day == date(2026, 5, 11)
    assert storage.event().last_day == date(2026, 6, 2)
    storage.extend_simulated(date(2026, 6, 3))
    storage.extend_simulated(date(2026, 6, 1))
    assert storage.event().last_day == date(2026, 6, 3)
    storage.keep_from_simulation()
    storage.extend_simulated(date(2026, 6, 4))
    assert storage.event().last_day == date(2026, 6, 3)


def test_a_new_day_opens_when_one_closes() -> None:
    guests = list(make_people(2, seed=1))
    event = Event(guests, start=date(2026, 5, 11), days=1, interval_s=60, halls=1, seed=1)
    now = datetime(2026, 5, 11, 12, tzinfo=UTC)
    times = [ping.creation_time for ping in itertools.islice(pings_from(event, now), 2000)]
    assert times == sorted(times)
    assert now <= times[0] < now + timedelta(minutes=5)
    assert times[-1] > now + timedelta(hours=9)


def test_it_writes_no_file(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot write a file"):
        call_command("simulate", live=True, to=tmp_path / "a.csv")
