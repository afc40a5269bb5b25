"""Reading long answers from PostgreSQL without holding them in memory."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.db import connection, transaction

from connect import carried

LATER_S = 1.0  # so that whoever waits says it first that the time is over
MOST_MS = 2**31 - 1  # that PostgreSQL can wait: some weeks; a gRPC call without a deadline has far more left
BLOCK = 2000  # rows fetched at a time


def cut_in_blocks(sql: str, parameters: Sequence[Any] | Mapping[str, Any]) -> Iterator[list[tuple[Any, ...]]]:
    """The rows of one statement, so of one snapshot, block by block through a server-side cursor.

    The transaction lives as long as the generator: read it to its end or close it. What is asked for a call
    that somebody waits for only so long is given up by the database after that time.
    """
    with transaction.atomic(), connection.chunked_cursor() as cursor:
        if (left_s := carried.seconds_left()) < math.inf:
            with connection.cursor() as other:
                timeout_ms = min(int((left_s + LATER_S) * 1000), MOST_MS)
                other.execute("SET LOCAL statement_timeout = %s", [timeout_ms])
        cursor.execute(sql, parameters)
        while block := cursor.fetchmany(BLOCK):
            yield block
