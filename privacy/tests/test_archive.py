"""The archive of a person: the same files at each door, and importable locations."""

import base64
import csv
import io
import json
import stat
import tracemalloc
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.test import Client
from rest_framework.test import APIClient

from access import services as access
from access.callers import Kind
from consumers.models import RejectedPing
from grpc_server import locations_pb2 as pb
from locations import storage as locations
from locations.models import Location
from locations.pings import COLUMNS, Ping
from persons import services as persons
from persons.models import Person
from privacy import archive
from privacy.models import ErasureReceipt
from privacy.tests.everywhere import columns_containing
from tests.gunicorn_server import Server
from webhooks.models import Delivery, Webhook

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 5, 11, 12, tzinfo=UTC)
ODD = [
    (0.1 + 0.2, 1e-7),
    (-90.0, 180.0),
    (5e-324, -0.0),  # stored by older versions; import_locations reads both as 0
    (89.99999999999999, -179.99999999999997),
    (1 / 3, 100 / 3),
]
ACCURACIES = [None, 3.3, 100_000.0]


def walk(person_id: int, count: int = len(ODD)) -> list[Ping]:
    return [
        Ping(
            person_id, NOON + timedelta(seconds=n, microseconds=n % 3), *ODD[n % len(ODD)], ACCURACIES[n % 3]
        )
        for n in range(count)
    ]


def unzip(body: bytes) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(body)) as file:
        assert file.testzip() is None
        return {name: file.read(name).decode() for name in file.namelist()}


def export(person_id: int, folder: Path) -> dict[str, str]:
    to = folder / "person.zip"
    call_command("export_person", str(person_id), to=to, stdout=StringIO(), stderr=StringIO())
    assert stat.S_IMODE(to.stat().st_mode) == 0o600
    return unzip(to.read_bytes())


def rows() -> list[tuple[Any, ...]]:
    return list(Location.objects.order_by("creation_time").values_list(*COLUMNS))


def test_it_has_the_names_the_consent_and_the_pings_of_this_person_only(
    ann: Person, bo: Person, tmp_path: Path
):
    locations.record([*walk(ann.id), *walk(bo.id)])
    call_command("find_encounters", "--from=2026-05-11", "--to=2026-05-11", stdout=StringIO())
    persons.set_findable(ann.id, findable=False)
    out_of_range = pb.Location(person_id=ann.id, latitude=91, longitude=0).SerializeToString()
    for number, (owner, value) in enumerate([(ann, out_of_range), (ann, b"\xff\x00"), (bo, b"bo")]):
        RejectedPing.objects.create(
            reason="why",
            person_id=owner.id,
            value=value,
            partition=0,
            offset=number,
            sent_ms=0,
            rejected_at=NOON,
        )

    files = export(ann.id, tmp_path)

    assert list(files) == list(archive.MEMBERS)
    names = {"first_name": "Ann", "last_name": "Lee", "company_name": "Acme"}
    assert json.loads(files["person.json"]) == {"id": ann.id, **names, "findable": False, "decided_at": None}
    assert len(list(csv.reader(io.StringIO(files["locations.csv"])))) == 1 + len(ODD)
    [encounter] = map(json.loads, files["encounters.jsonl"].splitlines())
    assert (encounter["start"], encounter["pings"]) == ("2026-05-11T12:00:00Z", len(ODD))
    assert (encounter["latitude"], encounter["longitude"]) == ODD[0]
    assert set(encounter) == {"start", "end", "pings", "min_distance_m", "latitude", "longitude"}
    decodable, undecodable = map(json.loads, files["rejected_pings.jsonl"].splitlines())
    assert decodable["read_as"]["latitude"] == 91
    assert (undecodable["read_as"], base64.b64decode(undecodable["value"])) == (None, b"\xff\x00")
    assert decodable["sent"] == "1970-01-01T00:00:00Z"
    assert "encounters" in files["README.txt"]


def test_it_has_what_webhooks_were_told_without_the_other_person(ann: Person, bo: Person, tmp_path: Path):
    hook = Webhook.objects.create(url="https://example.org/", events=[], created=NOON, next_attempt=NOON)
    what = {"event": "encounter.ended", "content": {"latitude": "52.5"}, "occurred": NOON, "give_up_at": NOON}
    for number, (a, b) in enumerate([(ann.id, bo.id), (bo.id, bo.id + 1)]):
        Delivery.objects.create(
            webhook=hook, message_id=f"msg_{number}", person_a_id=a, person_b_id=b, **what
        )

    [told] = map(json.loads, export(ann.id, tmp_path)["deliveries.jsonl"].splitlines())

    assert (told["receiver"], told["event"], told["state"]) == ("example.org", "encounter.ended", "waiting")
    assert "content" not in told
    assert not {"person_a_id", "person_b_id"} & told.keys()


def test_it_has_changes_by_staff_and_earlier_erasures(admin_client: Client, ann: Person, tmp_path: Path):
    persons.delete(ann.id)
    Person.objects.create(id=ann.id, first_name="Ann", last_name="Lee", company_name="Acme")
    names = {"first_name": "Anna", "last_name": "Lee", "company_name": "Acme", "findable": "on"}
    admin_client.post(f"/admin/persons/person/{ann.id}/change/", names)

    files = export(ann.id, tmp_path)

    [change] = map(json.loads, files["admin_log.jsonl"].splitlines())
    assert (change["name"], change["what"]) == ("Anna Lee", "Changed First name.")
    [receipt] = map(json.loads, files["erasures.jsonl"].splitlines())
    assert receipt["person_id"] == ann.id


def test_import_locations_restores_the_same_rows(ann: Person, tmp_path: Path):
    locations.record(walk(ann.id, 1200))
    tiny = (5e-324, -0.0)
    before = [(*row[:2], *((0.0, 0.0) if row[2:4] == tiny else row[2:4]), row[4]) for row in rows()]
    assert {row[4] for row in before} == set(ACCURACIES)
    text = export(ann.id, tmp_path)["locations.csv"]
    assert text.count(",5e-324,-0.0,") == 1200 / len(ODD)  # the archive has the stored values
    (tmp_path / "locations.csv").write_text(text)
    Location.objects.filter(person_id=ann.id).delete()

    call_command("import_locations", str(tmp_path / "locations.csv"), stdout=StringIO(), stderr=StringIO())

    assert list(map(repr, rows())) == list(map(repr, before))
    assert len(before) == 1200


def test_after_export_and_erasure_only_the_archive_is_left(ann: Person, tmp_path: Path):
    locations.record(walk(ann.id))
    Person.objects.filter(id=ann.id).update(first_name="Unmistakable")
    files = export(ann.id, tmp_path)
    call_command("erase_person", str(ann.id), stdout=StringIO(), stderr=StringIO())

    assert "Unmistakable" in files["person.json"]
    assert columns_containing("Unmistakable") == set()
    assert not Location.objects.exists()
    assert ErasureReceipt.objects.get().pings == len(ODD)
    with pytest.raises(CommandError, match="There is no person"):
        export(ann.id, tmp_path)


def test_every_door_gives_the_same_files(api: APIClient, admin_client: Client, ann: Person, tmp_path: Path):
    locations.record(walk(ann.id))
    by_command = export(ann.id, tmp_path)

    by_rest = api.get(f"/api/persons/{ann.id}/export")
    assert (by_rest.status_code, by_rest["Content-Type"]) == (200, "application/zip")
    assert by_rest["Content-Disposition"] == f'attachment; filename="person-{ann.id}.zip"'
    page = admin_client.get(f"/admin/persons/person/{ann.id}/change/").content.decode()
    link = f"/admin/privacy/erasurereceipt/export/{ann.id}/"
    assert f'href="{link}"' in page
    by_staff = admin_client.get(link)

    files = unzip(b"".join(by_staff.streaming_content))
    questions = [json.loads(line) for line in files.pop("questions.jsonl").splitlines()]
    assert [one["what"] for one in questions] == [
        "GET admin persons_person_change",
        "GET admin privacy_export",
    ]
    assert by_command.pop("questions.jsonl") == ""
    assert files == by_command
    assert unzip(by_rest.content) == files | {"questions.jsonl": ""}


def test_it_has_tokens_without_their_secrets(ann: Person, tmp_path: Path):
    token, key = access.make(name="Ann's phone", kind=Kind.PERSON, first_person_id=ann.id)
    access.make(name="everybody's", kind=Kind.INGEST, first_person_id=ann.id, last_person_id=ann.id + 1)
    text = export(ann.id, tmp_path)["tokens.jsonl"]
    assert json.loads(text)["prefix"] == token.prefix
    assert key.partition(".")[2] not in text


def test_staff_need_every_view_permission_for_it(ann: Person, django_user_model: type[User]):
    user = django_user_model.objects.create_user("someone", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_person", "view_location"]))
    client = Client()
    client.force_login(user)
    link = f"/admin/privacy/erasurereceipt/export/{ann.id}/"
    assert link not in client.get(f"/admin/persons/person/{ann.id}/change/").content.decode()
    assert client.get(link).status_code == 403
    more = Permission.objects.filter(codename__in=["view_rejectedping", "view_question", "view_token"])
    user.user_permissions.add(*more)
    assert link in client.get(f"/admin/persons/person/{ann.id}/change/").content.decode()
    assert client.get(link).status_code == 200
    assert client.get("/admin/privacy/erasurereceipt/export/999999/").status_code == 404


def test_errors_are_json(api: APIClient, ann: Person):
    path = f"/api/persons/{ann.id}/export"
    unknown = api.get("/api/persons/999999/export")
    assert (unknown.status_code, unknown.json()) == (404, {"detail": "There is no person 999999."})
    assert api.get(f"{path}?colour=red").json() == {"colour": ["Unknown parameter."]}
    for verb in ("post", "put", "patch", "delete"):
        assert getattr(api, verb)(path).status_code == 405
    assert api.options(path).json()["name"] == "Export"
    for form in ("application/json", "image/png"):
        answer = api.get(path, headers={"accept": form})
        assert (answer.status_code, answer["Content-Type"]) == (406, "application/json")
    assert api.get(path, headers={"accept": "text/html,*/*;q=0.8"}).status_code == 200


def test_a_failed_write_leaves_no_file(ann: Person, tmp_path: Path):
    with pytest.raises(CommandError, match="No such file or directory"):
        export(ann.id, tmp_path / "nowhere")
    (tmp_path / "person.zip").mkdir()
    with pytest.raises(CommandError, match="directory"):
        export(ann.id, tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["person.zip"]


def test_it_needs_constant_memory(ann: Person):
    def peak() -> int:
        tracemalloc.start()
        for _ in archive.stream(ann.id) or ():
            pass
        try:
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    locations.record(walk(ann.id, 10_000))
    short = peak()
    locations.record(walk(ann.id, 50_000))
    assert peak() < 1.5 * short


@pytest.mark.django_db(transaction=True)
def test_a_long_archive_is_streamed(server: Server, person: Callable[..., Person]):
    ann = person("Ann")
    locations.record(
        [Ping(ann.id, NOON + timedelta(seconds=n), n * 0.000_123_456_789, n * 0.001) for n in range(60_000)]
    )
    answer = server.get(f"/api/persons/{ann.id}/export")
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert unzip(answer.content)["locations.csv"].count("\n") == 60_001
