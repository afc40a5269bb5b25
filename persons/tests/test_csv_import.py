"""`import_rows` and `manage.py import_persons`."""

import gzip
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from persons.csv_import import MAX_EXAMPLES, Refusal, Summary, WrongColumns, import_rows
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
