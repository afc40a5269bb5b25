"""`import_rows` and `manage.py import_persons`."""

import gzip
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection

from persons import csv_import, person_ranges
from persons.csv_import import BATCH, MAX_EXAMPLES, Refusal, Summary, WrongColumns, import_rows
from persons.models import Person

pytestmark = pytest.mark.django_db

HEADER = "id,first_name,last_name,company_name\n"


def table(*rows: str) -> list[str]:
    return [HEADER, *(f"{row}\n" for row in rows)]


def stored() -> list[tuple[object, ...]]:
    return list(Person.objects.order_by("id").values_list("id", "first_name", "last_name", "company_name"))


def import_file(path: Path, **options: object) -> str:
    out = StringIO()
    call_command("import_persons", path, stdout=out, skip_checks=True, **options)
    return out.getvalue()


def test_imported_ids_are_kept_and_new_ids_follow() -> None:
    far = Person.objects.create(first_name="C", last_name="D", company_name="E").pk + 500
    assert import_rows(table(f"{far},Ann,Lee,Acme", f"{far - 9},Bo,Ek,Brio")) == Summary(read=2, created=2)
    assert {(far - 9, "Bo", "Ek", "Brio"), (far, "Ann", "Lee", "Acme")} < set(stored())
    assert Person.objects.create(first_name="C", last_name="D", company_name="E").pk == far + 1


def test_the_sequence_never_goes_backwards() -> None:
    newest = Person.objects.create(first_name="C", last_name="D", company_name="E").pk
    import_rows(table(f"{newest - 1},Bo,Ek,Brio"))
    assert Person.objects.create(first_name="C", last_name="D", company_name="E").pk == newest + 1


def test_importing_a_file_again_changes_nothing() -> None:
    rows = table("1,Ann,Lee,Acme", "2,Bo,Ek,Brio", "1,Ann,Lee,Acme")
    assert import_rows(rows) == Summary(read=3, created=2, repeats=1)
    assert import_rows(rows) == Summary(read=3, repeats=3)


def test_other_names_for_an_id_are_refused_without_update() -> None:
    import_rows(table("1,Ann,Lee,Acme", "2,Bo,Ek,Brio"))
    summary = import_rows(table("1,Ann,Lee,Other", "2,Bo,Ek,Brio", "3,Cy,Fo,Cera"))
    assert (summary.created, summary.repeats, summary.refused_count) == (1, 1, 1)
    assert summary.refused == [Refusal(2, "id: person 1 exists with other names.")]
    assert stored()[0] == (1, "Ann", "Lee", "Acme")
    summary = import_rows(table("1,Ann,Lee,Other", "2,Bo,Ek,Brio"), update=True)
    assert summary == Summary(read=2, updated=1, repeats=1)
    assert stored()[0] == (1, "Ann", "Lee", "Other")


def findable() -> dict[int, bool]:
    return dict(Person.objects.values_list("id", "findable"))


@pytest.mark.parametrize("by_default", [True, False])
def test_findable_is_a_column_with_a_default_in_the_settings(settings: Any, *, by_default: bool) -> None:
    settings.FINDABLE_BY_DEFAULT = by_default
    rows = ["findable,id,first_name,last_name,company_name\n", "True,1,A,B,C\n", "no,2,A,B,C\n", ",3,A,B,C\n"]
    assert import_rows(rows) == Summary(read=3, created=3)
    import_rows(table("4,A,B,C"))
    assert findable() == {1: True, 2: False, 3: by_default, 4: by_default}
    assert Person.objects.create(first_name="A", last_name="B", company_name="C").findable is by_default


def test_findable_of_an_existing_person_changes_only_with_update() -> None:
    head = HEADER.replace("\n", ",findable\n")
    import_rows([head, "1,A,B,C,false\n", "2,A,B,C,true\n"])
    changed = [head, "1,A,B,C,true\n", "2,A,B,C,\n"]
    assert import_rows(changed) == Summary(read=2, repeats=2)
    assert findable() == {1: False, 2: True}
    assert import_rows(changed, update=True) == Summary(read=2, updated=1, repeats=1)
    assert findable() == {1: True, 2: True}


def test_findable_must_be_true_or_false() -> None:
    summary = import_rows([HEADER.replace("\n", ",findable\n"), "1,A,B,C,maybe\n"])
    assert summary.refused == [Refusal(2, "findable: must be true or false, or empty.")]


def test_an_erased_id_is_refused_without_restore_erased(tmp_path: Path) -> None:
    import_rows(table("1,Ann,Lee,Acme", "2,Bo,Ek,Brio"))
    Person.objects.filter(id=1).delete()
    rows = table("1,Ann,Lee,Acme", "1,Ann,Lee,Acme", "3,Cy,Fo,Cera", "2,Bo,Ek,Brio")

    for update in (False, True):
        summary = import_rows(rows, update=update)
        assert [refusal.line for refusal in summary.refused] == [2, 3]
        assert summary.refused[0].reason == "id: person 1 was erased, and ids are not reused."
        assert (summary.read, summary.created + summary.repeats) == (4, 2)
        assert [row[0] for row in stored()] == [2, 3]

    file = tmp_path / "people.csv"
    file.write_text("".join(rows))
    with pytest.raises(CommandError, match="2 rows were refused"):
        import_file(file)
    assert "4 read: 1 created, 0 updated, 3 repeats, 0 refused" in import_file(file, restore_erased=True)
    assert [row[0] for row in stored()] == [1, 2, 3]
    assert import_rows(rows) == Summary(read=4, repeats=4)  # a restored person is like any other person


def test_two_rows_with_one_id_and_different_names() -> None:
    rows = table("1,Ann,Lee,Acme", "1,Ann,Lee,Other")
    assert import_rows(rows).refused == [Refusal(3, "id: person 1 exists with other names.")]
    assert import_rows(rows, update=True).updated == 1
    assert stored() == [(1, "Ann", "Lee", "Other")]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("1, ,Lee,Acme", "first_name: must have 1 to 255 characters, has 0."),
        (f"1,Ann,{'x' * 256},Acme", "last_name: must have 1 to 255 characters, has 256."),
        ("1,Ann,Lee,Ac\0me", "company_name: must not contain the character NUL."),
        ("1,Ann,Lee,Ac\udce9me", "company_name: must be text in UTF-8."),
        ("0,Ann,Lee,Acme", f"id: must be a whole number from 1 to {2**53 - 1}."),
        (f"{2**53},Ann,Lee,Acme", f"id: must be a whole number from 1 to {2**53 - 1}."),
        ("1.0,Ann,Lee,Acme", f"id: must be a whole number from 1 to {2**53 - 1}."),
        ("1,Ann,Lee", "The row has 3 cells instead of 4."),
        ("1,Ann,Lee,Acme,", "The row has 5 cells instead of 4."),
        ('1,"Ann,Lee,Acme', "A quotation mark is not closed, or is inside a cell."),
        ('1,"Ann"e,Lee,Acme', "A quotation mark is not closed, or is inside a cell."),
    ],
)
def test_an_invalid_row_is_refused_and_the_others_are_stored(row: str, reason: str) -> None:
    good = [f"{i},First,Last,Company" for i in range(10, 40)]
    summary = import_rows(table(*good[:15], row, *good[15:]))
    assert summary.refused == [Refusal(17, reason)]
    assert (summary.read, summary.created) == (31, 30)


def test_all_refused_rows_are_counted_and_some_are_listed() -> None:
    summary = import_rows(table(*(["no,such,thing,here"] * 100)))
    assert (len(summary.refused), summary.refused_count) == (MAX_EXAMPLES, 100)


def test_quoted_cells_may_have_commas_quotes_and_line_breaks() -> None:
    summary = import_rows([HEADER, '1,"Ann ""A""","Lee, jr.","Two\n', 'Lines"\n', "\n", "x,a,b,c\n"])
    assert stored() == [(1, 'Ann "A"', "Lee, jr.", "Two\nLines")]
    assert [refusal.line for refusal in summary.refused] == [5]


def test_names_are_trimmed_and_255_characters_fit() -> None:
    import_rows(table(f"1, Ann ,{'ü' * 255},\tAcme"))
    assert stored() == [(1, "Ann", "ü" * 255, "Acme")]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "id,first_name,last_name",
        "id,first_name,last_name,company_name,age",
        "id;first_name;last_name",
        "first_name;last_name,company_name",
        "company,first_name,last_name,company_name",
        "i\udcff",
    ],
)
def test_wrong_columns_are_refused_before_any_write(header: str) -> None:
    with pytest.raises(WrongColumns, match="id, first_name, last_name, company_name"):
        import_rows([f"{header}\n", "1,Ann,Lee,Acme,5\n"])
    assert stored() == []


def test_a_file_with_byte_order_mark_crlf_and_other_column_order(tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_bytes("\ufefflast_name,id,company_name,first_name\r\nLee,1,Café,Ann\r\n".encode())
    assert import_file(file) == "1 read: 1 created, 0 updated, 0 repeats, 0 refused\n"
    assert stored() == [(1, "Ann", "Lee", "Café")]


def test_rows_that_are_not_utf8_are_refused_and_the_others_stored(tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_bytes("".join(table("1,Ann,Lee,Café", "2,Bo,Ek,Brio")).encode("latin-1"))
    with pytest.raises(CommandError, match="1 rows were refused") as error:
        import_file(file)
    assert error.value.returncode == 1
    assert stored() == [(2, "Bo", "Ek", "Brio")]


def test_a_truncated_gzip_file_is_imported_up_to_the_end_and_can_be_imported_again(tmp_path: Path) -> None:
    whole = gzip.compress("".join(table(*(f"{i},A{i * 7919},L{i},C" for i in range(1, 9001)))).encode())
    file = tmp_path / "people.csv.gz"
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        CommandError, match=r"the gzip file is truncated\. The rows before are stored"
    ) as error:
        import_file(file)
    assert error.value.returncode == 2
    before = Person.objects.count()
    assert 1000 < before < 9000
    assert {name for _, name, _, _ in stored()} == {f"A{i * 7919}" for i in range(1, before + 1)}
    file.write_bytes(whole)
    assert import_file(file).startswith(
        f"9,000 read: {9000 - before:,} created, 0 updated, {before:,} repeats"
    )


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="No such file") as error:
        import_file(tmp_path / "none.csv")
    assert error.value.returncode == 2


# --- without ids ---------------------------------------------------------------------------------

NAMES = "first_name,last_name,company_name\n"


def new_id() -> int:
    """The id of a new person, who is deleted again: the next import starts after it."""
    person = Person.objects.create(first_name="A", last_name="B", company_name="C")
    number = person.id
    person.delete()
    return number


def test_rows_without_ids_get_the_next_ids_in_their_order(tmp_path: Path) -> None:
    file, output = tmp_path / "people.csv", tmp_path / "with-ids.csv"
    file.write_text(f"{NAMES}Zoë,Lee,Acme\n Bo , Ek,Brio\n,Fo,Cera\nAnn,Lee,Acme\n")
    first = new_id() + 1
    with pytest.raises(CommandError, match="1 rows were refused"):
        import_file(file, output=output)
    people = [
        (first, "Zoë", "Lee", "Acme"),
        (first + 1, "Bo", "Ek", "Brio"),
        (first + 2, "Ann", "Lee", "Acme"),
    ]
    assert stored() == people
    table = "id,first_name,last_name,company_name,findable\r\n" + "".join(
        f"{','.join(map(str, person))},true\r\n" for person in people
    )
    assert output.read_bytes().decode() == table
    assert import_file(output) == "3 read: 0 created, 0 updated, 3 repeats, 0 refused\n"


def test_the_summary_has_the_ids(tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text(f"{NAMES}Ann,Lee,Acme\nBo,Ek,Brio\n")
    ids = f"{(first := new_id() + 1)}-{first + 1}"
    assert import_file(file).endswith(f" 0 refused\n2 ids assigned: {ids}\n")
    assert import_file(file).endswith(f" 0 refused\n2 people recognised by their names: {ids}\n")


@pytest.mark.parametrize("output", ["none/people.csv", "."])
def test_an_output_that_cannot_be_written_is_an_error(tmp_path: Path, output: str) -> None:
    file = tmp_path / "people.csv"
    file.write_text(f"{NAMES}Ann,Lee,Acme\n")
    with pytest.raises(CommandError, match="The people are stored; run this again") as error:
        import_file(file, output=tmp_path / output)
    assert error.value.returncode == 2
    assert Person.objects.count() == 1


ANN, BO = ("Ann", "Lee", "Acme"), ("Bo", "Ek", "Brio")


@pytest.mark.parametrize(
    ("existing", "rows", "created"),
    [
        ([], [ANN, BO], 2),
        ([], [ANN, ANN, BO, ANN], 4),
        ([ANN], [ANN], 0),
        ([ANN], [ANN, BO, ANN, ANN], 3),
        ([ANN, ANN, ANN], [ANN, BO, ANN], 1),
        ([("ann", "Lee", "Acme"), ("Ann", "Lee", "Other"), ("Lee", "Ann", "Acme")], [ANN], 1),
    ],
)
def test_the_file_says_how_many_people_have_the_same_names(
    existing: list[tuple[str, ...]], rows: list[tuple[str, ...]], created: int
) -> None:
    for first_name, last_name, company_name in existing:
        Person.objects.create(first_name=first_name, last_name=last_name, company_name=company_name)
    lines = [NAMES, *(f"{','.join(row)}\n" for row in rows)]
    summary = import_rows(lines)
    assert summary == Summary(read=len(rows), created=created, repeats=len(rows) - created)
    assert len(set(summary.ids)) == len(rows)
    assert dict(zip(summary.ids, rows, strict=True)).items() <= {row[0]: row[1:] for row in stored()}.items()
    again = import_rows(lines)
    assert again == Summary(read=len(rows), repeats=len(rows))
    assert (again.ids, Person.objects.count()) == (summary.ids, len(existing) + created)


@pytest.mark.parametrize("update", [False, True])
def test_rows_with_and_without_ids(*, update: bool) -> None:
    given = new_id() + 1
    rows = table(",Ann,Lee,Acme", f"{given},Bo,Ek,Brio", ",Bo,Ek,Brio", f"{given + 1},Ann,Lee,Acme")
    assert import_rows(rows, update=update) == Summary(read=4, created=4)
    names = ["Bo", "Ann", "Ann", "Bo"]
    assert [(row[0], row[1]) for row in stored()] == [(given + n, name) for n, name in enumerate(names)]
    again = import_rows(rows, update=update)
    assert again == Summary(read=4, repeats=4)
    assert (list(again.recognised), list(again.assigned)) == ([given + 2, given + 3], [])


@pytest.mark.parametrize("by_default", [True, False])
def test_findable_without_ids(settings: Any, *, by_default: bool) -> None:
    settings.FINDABLE_BY_DEFAULT = by_default
    head = NAMES.replace("\n", ",findable\n")
    import_rows([head, "A,B,C,true\n", "A,B,C,no\n", "D,B,C,\n"])
    assert list(findable().values()) == [True, False, by_default]
    changed = [head, "A,B,C,false\n", "A,B,C,\n"]
    assert import_rows(changed) == Summary(read=2, repeats=2)
    assert import_rows(changed, update=True) == Summary(read=2, updated=1, repeats=1)
    assert list(findable().values()) == [False, False, by_default]


def test_the_same_names_in_several_batches() -> None:
    rows = [NAMES, *(["Ann,Lee,Acme\n"] * (BATCH + 2)), "Bo,Ek,Brio\n"]
    first = import_rows(rows)
    assert first == Summary(read=BATCH + 3, created=BATCH + 3)
    assert list(first.assigned) == [row[0] for row in stored()]
    assert stored()[-1][1] == "Bo"
    again = import_rows(rows)
    assert again == Summary(read=BATCH + 3, repeats=BATCH + 3)
    assert again.ids == first.ids


def test_an_import_that_failed_in_its_second_batch_is_completed_by_running_it_again() -> None:
    rows = [NAMES, *(f"{'Ann' if n % 2 else n},Lee,Acme\n" for n in range(BATCH + 1)), "Last,Lee,Acme\n"]
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE persons_person ADD CONSTRAINT fault CHECK (first_name <> 'Last')")
        summary = Summary()
        with pytest.raises(IntegrityError):
            import_rows(rows, summary=summary)
        cursor.execute("ALTER TABLE persons_person DROP CONSTRAINT fault")
    assert summary == Summary(read=BATCH, created=BATCH)
    assert import_rows(rows) == Summary(read=BATCH + 2, created=2, repeats=BATCH)
    assert Person.objects.count() == BATCH + 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("same", [True, False])
def test_two_imports_at_the_same_time(*, same: bool) -> None:
    both_ready = threading.Barrier(2)
    count = BATCH + 100

    def run(company: str) -> Summary:
        def lines() -> Iterator[str]:
            yield NAMES
            yield from (f"P{n},Lee,{company}\n" for n in range(count))
            both_ready.wait(timeout=60)

        try:
            return import_rows(lines())
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(run, ["Acme", "Acme" if same else "Brio"])

    people = count if same else 2 * count
    assert one.created + other.created == people == Person.objects.count()
    assert {*one.ids, *other.ids} == set(Person.objects.values_list("id", flat=True))
    if same:
        assert one.ids == other.ids
    else:
        for summary, company in ((one, "Acme"), (other, "Brio")):
            found = person_ranges.people(person_ranges.of(summary.ids)).filter(company_name=company)
            assert found.count() == count == summary.created


def test_a_file_has_a_maximum_of_rows_without_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_import, "MAX_WITHOUT_ID", 2)
    summary = import_rows(table(",A,B,C", ",D,B,C", ",E,B,C", f"{new_id() + 1},F,B,C"))
    assert summary.refused == [Refusal(4, "A file may have 2 rows without an id; split the file.")]
    assert summary.created == 3


# --- what spreadsheets and registration tools write ----------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_byte_order_marks_and_line_ends(
    tmp_path: Path, separator: str, end: str, encoding: str
) -> None:
    rows = [
        ["", "", ""],
        ["company", '"First name"', "last-name"],
        ["Acme", "Zoë", f'"Lee{separator} ""jr."""'],
        ["", "", ""],
        ['"Brio; Cera,\tFo"', "Bo", "Ek"],
        ["two", "cells"],
    ]
    file = tmp_path / "people.csv"
    file.write_bytes("".join(separator.join(row) + end for row in rows).encode(encoding))
    with pytest.raises(CommandError, match="1 rows were refused"):
        import_file(file)
    assert [row[1:] for row in stored()] == [
        ("Zoë", f'Lee{separator} "jr."', "Acme"),
        ("Bo", "Ek", "Brio; Cera,\tFo"),
    ]


@pytest.mark.parametrize(
    "header",
    [
        "First name;Last name;Company",
        "FIRST_NAME;LAST-NAME;COMPANY NAME",
        " First  Name ; last\xa0name\xa0;Company-Name",
        '"First Name";"Last Name";"Company"',
        '\ufeff"first name";"last name";"company name"',
    ],
)
def test_headers_are_read_as_people_write_them(header: str) -> None:
    assert import_rows([f"{header}\r\n", "Ann;Lee;Acme, Brio\r\n"]).created == 1
    assert stored()[0][1:] == ("Ann", "Lee", "Acme, Brio")


def test_an_unknown_column_is_named_with_its_line() -> None:
    with pytest.raises(WrongColumns, match=r"Found in line 2: First name, Last name, Company, E-mail\.$"):
        import_rows(["\n", "First name;Last name;Company;E-mail\n", "Ann;Lee;Acme;a@b\n"])


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_refused_with_the_remedy(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "people.txt"
    file.write_bytes('\ufeffFirst name\tLast name\tCompany\r\nAnn\t"L"\tAcme\r\n'.encode(encoding))
    with pytest.raises(CommandError, match=r"is in UTF-16\. Save it as CSV UTF-8") as error:
        import_file(file)
    assert error.value.returncode == 2
    assert stored() == []


def test_a_stray_quote_takes_no_other_row_with_semicolons() -> None:
    rows = [f"P{n};Lee;Acme\n" for n in range(30)]
    summary = import_rows(["first_name;last_name;company\n", *rows[:15], 'Ann;"Lee;Acme\n', *rows[15:]])
    assert summary.refused == [Refusal(17, "A quotation mark is not closed, or is inside a cell.")]
    assert summary.created == 30


@pytest.mark.parametrize(
    ("ids", "text"),
    [([], ""), ([5], "5"), ([7, 5, 6, 5], "5-7"), ([1, 2, 4, 9, 8, 10], "1-2, 4, 8-10")],
)
def test_ranges_of_ids(ids: list[int], text: str) -> None:
    ranges = person_ranges.of(ids)
    assert person_ranges.text(ranges) == text
    if ids:
        assert person_ranges.parse(text) == ranges


@pytest.mark.parametrize(
    "text", ["", "a", "0", "5-4", "5, 5", "1-3, 2", "1--2", "-1", f"{2**63}", "1,2", "٣"]
)
def test_texts_that_are_no_ranges_of_ids(text: str) -> None:
    with pytest.raises(ValueError, match="ids must"):
        person_ranges.parse(text)
