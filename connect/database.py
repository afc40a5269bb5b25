"""Reading long answers from PostgreSQL without holding them in memory."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.db import connection, transaction

BLOCK = 2000  # rows fetched at a time


def cut_in_blocks(sql: str, parameters: Sequence[Any] | Mapping[str, Any]) -> Iterator[list[tuple[Any, ...]]]:
    """The rows of one statement, so of one snapshot, block by block through a server-side cursor.

    The transaction lives as long as the generator: read it to its end or close it.
    """
    with transaction.atomic(), connection.chunked_cursor() as cursor:
        cursor.execute(sql, parameters)
        while block := cursor.fetchmany(BLOCK):
            yield block
