"""Streams long results from PostgreSQL in constant memory."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.db import OperationalError, connection, transaction

from connect import request_context
from connect.errors import QuestionTooLarge

MARGIN_S = 1.0  # the statement ends before the deadline, so that the caller still gets QuestionTooLarge
# With less time left than this, the deadline says nothing about the size of the question: the statement ends
# GRACE_S after the deadline, so that the caller does not get QuestionTooLarge.
SHORT_DEADLINE_S = 5.0
GRACE_S = 1.0
QUERY_CANCELED = "57014"
# PostgreSQL's maximum, 24 days. A gRPC call without a deadline has far more time left.
MAX_TIMEOUT_MS = 2**31 - 1
BLOCK = 2000  # rows per fetch


def stream_blocks(sql: str, parameters: Sequence[Any] | Mapping[str, Any]) -> Iterator[list[tuple[Any, ...]]]:
    """The rows of one statement, in blocks, through a server-side cursor. All blocks are of one snapshot.

    The transaction is open as long as the generator: read it to the end or close it. The statement timeout
    follows the deadline of the current call and raises QuestionTooLarge. A lock timeout raises
    OperationalError, because a retry may succeed.
    """
    with transaction.atomic(), connection.chunked_cursor() as cursor:
        if (left_s := request_context.seconds_left()) < math.inf:
            with connection.cursor() as other:
                allowed_s = left_s + GRACE_S if left_s < SHORT_DEADLINE_S else left_s - MARGIN_S
                timeout_ms = min(int(allowed_s * 1000), MAX_TIMEOUT_MS)
                other.execute(
                    "SELECT set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true)",
                    [str(timeout_ms), str(int(timeout_ms * 0.9))],
                )
        try:
            cursor.execute(sql, parameters)
            while block := cursor.fetchmany(BLOCK):
                yield block
        except OperationalError as fault:
            cause: Any = fault.__cause__
            if cause.pgcode == QUERY_CANCELED and "statement timeout" in str(fault):
                raise QuestionTooLarge from fault
            raise
