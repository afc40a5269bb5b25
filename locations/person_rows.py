"""All SQL of locations on the table of persons. Locations does not import persons.

It is the coupling that remains with a shared database: docs/migration.md.
"""

from collections.abc import Iterable

from django.db import connection

MAX_ID = 2**63 - 1

# Row locks, so that nobody is deleted before their pings are committed.
_LOCK = "SELECT id FROM persons_person WHERE id = ANY(%s) ORDER BY id FOR KEY SHARE"

# People who are not findable are in no answer about others. They are few: a statement reads them once, from a
# partial index that has only them, and hashes them.
_HIDDEN = "SELECT id FROM persons_person WHERE NOT findable"
FINDABLE = "SELECT id FROM persons_person WHERE findable"


def may_exist(person_id: int | None) -> bool:
    """Whether there may be a person with this id; None means everybody."""
    return person_id is None or 0 < person_id <= MAX_ID


def lock_existing(person_ids: Iterable[int]) -> set[int]:
    """The ids that exist. Nobody can delete these people before the transaction around this call ends."""
    possible = sorted({each for each in person_ids if may_exist(each)})
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, [possible])
        return {row[0] for row in cursor.fetchall()}


def is_findable(person_id: str) -> str:
    """The SQL condition that a person is findable; `person_id` is an SQL expression."""
    return f"{person_id} NOT IN ({_HIDDEN})"


def works_for(person_id: str) -> str:
    """The SQL condition that a person is of the company %(company)s; `person_id` is an SQL expression."""
    return f"{person_id} IN (SELECT id FROM persons_person WHERE company_name = %(company)s)"


# The findable people and their companies.
COMPANIES = "SELECT id, company_name FROM persons_person WHERE findable"
