"""What locations touch of the table that persons own: in SQL, without an import, and nowhere else.

It is the coupling that a shared database leaves; docs/migration.md names it.
"""

from collections.abc import Iterable

from django.db import connection

MAX_ID = 2**63 - 1

# Until the transaction around it ends nobody can delete these people, so that no ping is stored of someone
# who is gone.
_HOLD = "SELECT id FROM persons_person WHERE id = ANY(%s) ORDER BY id FOR KEY SHARE"

# Who does not want to be found is in no answer about others. The few who do not are read once a statement,
# from an index that has nobody else in it, and hashed; with nobody hidden there is nothing to look into.
_HIDDEN = "SELECT id FROM persons_person WHERE NOT findable"


def hold(person_ids: Iterable[int]) -> set[int]:
    """Those who exist. Until the transaction around this ends nobody can delete them."""
    possible = sorted({each for each in person_ids if 0 < each <= MAX_ID})
    with connection.cursor() as cursor:
        cursor.execute(_HOLD, [possible])
        return {row[0] for row in cursor.fetchall()}


def may_be_found(person_id: str) -> str:
    """The condition in SQL that the person whose id this expression gives lets others find them."""
    return f"{person_id} NOT IN ({_HIDDEN})"
