"""Export and import of people as CSV in the admin site."""

import re
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from persons import admin
from persons.csv_import import MAX_EXAMPLES, Refusal
from persons.models import Person
from privacy.models import ErasureReceipt

pytestmark = pytest.mark.django_db

LIST = "/admin/persons/person/"
IMPORT = f"{LIST}import/"
IMPORTED = f"{LIST}imported/"
EXPORT = f"{LIST}export/"
HEADER = "id,first_name,last_name,company_name\n"
EXPORTED = "id,first_name,last_name,company_name,findable\r\n"

ODD_NAMES = [
    "=1+1",
    "+49 30",
    "-Ing",
    "@home GmbH",
    "'quoted",
    'say "hi", twice',
    "two\nlines",
    "two\r\nlines",
    "a\rreturn",
    "tab\there",
    "Søren 🦊 \u2028 \u0085x",
    "x" * 255,
    '"',
    ",",
]


@pytest.fixture(autouse=True)
def _plain_static_files(settings: Any) -> None:
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }


def stored() -> list[tuple[object, ...]]:
    return list(Person.objects.order_by("id").values_list("id", "first_name", "last_name", "company_name"))


def upload(client: Client, content: bytes | str | None, **fields: str) -> Any:
    """Imports a file; the response has the form and the summary in its context."""
    data: dict[str, Any] = dict(fields)
    if content is not None:
        raw = content.encode() if isinstance(content, str) else content
        data["file"] = SimpleUploadedFile("people.csv", raw, content_type="text/csv")
    answer = client.post(IMPORT, data)
    assert answer.status_code == 200
    return answer


def empty_tables() -> None:
    """Deletes all people and the erasure receipts."""
    Person.objects.all().delete()
    ErasureReceipt.objects.all().delete()


def test_an_export_is_imported_unchanged(admin_client: Client) -> None:
    Person.objects.bulk_create(
        Person(first_name=a, last_name=b, company_name=a) for a in ODD_NAMES for b in ODD_NAMES
    )
    before = stored()
    exported = admin_client.get(EXPORT).getvalue()
    summary = upload(admin_client, exported).context["summary"]
    assert (summary.read, summary.repeats) == (len(before), len(before))
    empty_tables()
    summary = upload(admin_client, exported).context["summary"]
    assert (summary.created, summary.refused) == (len(before), [])
    assert stored() == before
    assert admin_client.get(EXPORT).getvalue() == exported


def test_findable_is_exported_and_imported(admin_client: Client) -> None:
    Person.objects.create(first_name="A", last_name="B", company_name="C", findable=False)
    exported = admin_client.get(EXPORT).getvalue()
    empty_tables()
    assert upload(admin_client, exported).context["summary"].created == 1
    assert Person.objects.get().findable is False


def test_an_import_refuses_erased_people(admin_client: Client) -> None:
    person = Person.objects.create(first_name="A", last_name="B", company_name="C")
    number = person.id
    exported = admin_client.get(EXPORT).getvalue()
    person.delete()
    for fields in ({}, {"update": "on"}):
        summary = upload(admin_client, exported, **fields).context["summary"]
        reason = f"id: person {number} was erased, and ids are not reused."
        assert summary.refused == [Refusal(2, reason)]
    assert not Person.objects.exists()


def test_an_export_is_streamed_in_blocks(admin_client: Client, django_assert_max_num_queries: Any) -> None:
    Person.objects.bulk_create(
        Person(first_name="A", last_name=f"{n}", company_name="C") for n in range(5000)
    )
    answer = admin_client.get(EXPORT)
    assert answer.streaming
    assert answer.headers["Content-Disposition"] == 'attachment; filename="people.csv"'
    with django_assert_max_num_queries(1):
        blocks = list(answer)
    assert len(blocks) == 3
    assert b"".join(blocks).count(b"\n") == 5001


def test_an_export_without_people_has_only_the_header(admin_client: Client) -> None:
    assert admin_client.get(EXPORT).getvalue().decode() == EXPORTED


def test_an_export_has_the_people_of_the_list(admin_client: Client) -> None:
    ann, bo, cy = (Person.objects.create(first_name=n, last_name="L", company_name=f"{n} Ltd") for n in "ABC")
    line = "{0.id},{0.first_name},L,{0.company_name},true\r\n".format
    head = EXPORTED
    get = lambda **query: admin_client.get(EXPORT, query).getvalue().decode()  # noqa: E731
    assert get() == head + line(ann) + line(bo) + line(cy)
    assert get(company="B Ltd") == head + line(bo)
    assert get(q="c ltd") == head + line(cy)
    assert admin_client.get(EXPORT, {"what": "x"}).status_code == 302
    chosen = {"action": "export_selected", "_selected_action": [str(cy.pk), str(ann.pk)]}
    assert admin_client.post(LIST, chosen).getvalue().decode() == head + line(ann) + line(cy)


def posted_ids(answer: Any) -> str:
    [ids] = re.findall(r'name="ids" value="([^"]*)"', answer.content.decode())
    return ids


def test_the_people_of_an_import_without_ids_are_downloaded_with_their_ids(admin_client: Client) -> None:
    others = [Person.objects.create(first_name=n, last_name="L", company_name="X") for n in "AB"]
    text = "\ufeffFirst name;Last name;Company\r\nB;L;X\r\nAnn;Lee;Acme, Inc.\r\nCy;Fo;Cera\r\n"
    answer = upload(admin_client, text)
    first = others[1].id + 1
    assert f"import: {others[1].id}-{first + 1}. New: {first}-{first + 1}." in answer.content.decode()
    Person.objects.create(first_name="D", last_name="L", company_name="X")
    table = admin_client.post(IMPORTED, {"ids": posted_ids(answer)}).getvalue().decode()
    assert table == (
        f'{EXPORTED}{others[1].id},B,L,X,true\r\n{first},Ann,Lee,"Acme, Inc.",true\r\n'
        f"{first + 1},Cy,Fo,Cera,true\r\n"
    )
    for content in (text, table):
        again = upload(admin_client, content)
        assert again.context["summary"].repeats == 3
        assert posted_ids(again) == posted_ids(answer)
        assert "New: " not in again.content.decode()


@pytest.mark.parametrize("method", ["get", "post"])
def test_ids_that_the_page_did_not_write_lead_to_the_list(admin_client: Client, method: str) -> None:
    answer = getattr(admin_client, method)(IMPORTED, {"ids": "2-1"})
    assert (answer.status_code, answer["Location"]) == (302, LIST)


def test_an_import_of_too_many_ranges_offers_no_download(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin, "MAX_RANGES", 2)
    rows = [f"{n},A,B,C\n" for n in (1, 3, 5)]
    assert posted_ids(upload(admin_client, HEADER + "".join(rows[:2]))) == "1, 3"
    page = upload(admin_client, HEADER + "".join(rows)).content.decode()
    assert "import: 1, 3, 5." in page
    assert 'name="ids"' not in page


def test_the_import_page_has_an_example(admin_client: Client) -> None:
    page = admin_client.get(IMPORT).content.decode()
    assert "First name,Last name,Company\nAda,Lovelace,Engines Ltd" in page
    assert "id,first_name,last_name,company_name" in page
    assert "5,Ada,Lovelace,Engines Ltd" in page


def test_the_summary_lists_refused_lines(admin_client: Client) -> None:
    person = Person.objects.create(first_name="A", last_name="B", company_name="C")
    new = person.pk + 1
    rows = f"{person.pk},A,B,C\n{person.pk},X,B,C\n{new},Ann,Lee,Acme\nfive,Bo,Ek,Brio\n{new + 1},,Ek,Brio\n"
    answer = upload(admin_client, HEADER + rows)
    summary = answer.context["summary"]
    assert (summary.read, summary.created, summary.repeats, summary.refused_count) == (5, 1, 1, 3)
    page = answer.content.decode()
    for line, reason in (
        (3, "exists with other names"),
        (5, "must be a whole number"),
        (6, "must have 1 to"),
    ):
        assert f"<td>{line}</td><td>" in page
        assert reason in page
    assert stored() == [(person.pk, "A", "B", "C"), (new, "Ann", "Lee", "Acme")]


def test_existing_people_change_only_with_update(admin_client: Client) -> None:
    person = Person.objects.create(first_name="A", last_name="B", company_name="C")
    text = f"{HEADER}{person.pk},X,Y,Z\n"
    assert upload(admin_client, text).context["summary"].refused_count == 1
    assert upload(admin_client, text, update="on").context["summary"].updated == 1
    assert stored() == [(person.pk, "X", "Y", "Z")]


def test_many_refusals_are_counted_and_some_are_shown(admin_client: Client) -> None:
    answer = upload(admin_client, HEADER + "x,A,B,C\n" * 50)
    assert answer.context["more_refused"] == 50 - MAX_EXAMPLES
    assert f"and {50 - MAX_EXAMPLES} more" in answer.content.decode()


def test_a_large_upload_is_read_from_disk(admin_client: Client, settings: Any) -> None:
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 100
    text = HEADER + "".join(f"{n},A,B,C\n" for n in range(1, 501))
    assert upload(admin_client, text).context["summary"].created == 500


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "Choose a file."),
        (b"", "The file is empty."),
        ("first_name;last_name;company_name;age\nA;B;C;5\n", "company_name, age."),
        ("id,first_name,last_name\n5,A,B\n", "The columns must be id, first_name"),
        ("\n\n\n", "no such line was found"),
        ((HEADER + "5,A,B,C\n").encode("utf-16"), "Save it as CSV UTF-8"),
        (b"PK\x03\x04\x14\x00\x06\x00", "The columns must be id, first_name"),
        (b"\x00" * 1000, "The columns must be id, first_name"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_a_reason(
    admin_client: Client, content: bytes | str | None, message: str
) -> None:
    answer = upload(admin_client, content)
    page = answer.content.decode()
    assert message in page
    assert "Nothing was imported" in page
    assert answer.context["summary"] is None
    assert not stored()


def test_rows_that_are_not_utf8_are_refused_and_the_others_stored(admin_client: Client) -> None:
    answer = upload(admin_client, (HEADER + "5,Zoë,B,C\n6,Ann,B,C\n").encode("latin-1"))
    assert "<td>2</td><td>first_name: must be text in UTF-8." in answer.content.decode()
    assert stored() == [(6, "Ann", "B", "C")]


def test_a_byte_order_mark_and_crlf_are_accepted(admin_client: Client) -> None:
    upload(admin_client, ("\ufeff" + HEADER + "5,Zoë,B,C\n").replace("\n", "\r\n"))
    assert stored() == [(5, "Zoë", "B", "C")]


def test_a_body_that_is_not_a_form_is_refused_with_a_reason(admin_client: Client) -> None:
    answer = admin_client.post(IMPORT, data=b"file", content_type="text/plain")
    assert "Choose a file." in answer.content.decode()
