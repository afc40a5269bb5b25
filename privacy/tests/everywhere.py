"""Where in the database something stands, whichever table and column."""

from collections.abc import Iterator

from django.db import connection
from psycopg2 import sql

# Of what a person can be written in. Tables of extensions have nothing of Connect's.
_COLUMNS = """
SELECT columns.table_name, columns.column_name, columns.data_type
  FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
 WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name <> 'spatial_ref_sys'
   AND data_type IN ('smallint', 'integer', 'bigint', 'text', 'character varying', 'json', 'jsonb', 'bytea')
 ORDER BY 1, 2
"""


def holding(text: str, *, and_bytes: bytes = b"") -> set[tuple[str, str]]:
    """Tables and columns with a value that has this text as a word in it; in bytes, either of the two."""
    return {
        (table, column) for table, column, kind in _columns() if _holds(table, column, kind, text, and_bytes)
    }


def _columns() -> Iterator[tuple[str, str, str]]:
    with connection.cursor() as cursor:
        cursor.execute(_COLUMNS)
        yield from cursor.fetchall()


def _holds(table: str, column: str, kind: str, text: str, and_bytes: bytes) -> bool:
    name = sql.Identifier(column)
    if kind == "bytea":
        found = sql.SQL("position({} IN {}) > 0 OR position({} IN {}) > 0").format(
            sql.Literal(text.encode()), name, sql.Literal(and_bytes or text.encode()), name
        )
    else:
        found = sql.SQL("{}::text ~ {}").format(name, sql.Literal(rf"(^|\W){text}($|\W)"))
    question = sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE {})").format(sql.Identifier(table), found)
    with connection.cursor() as cursor:
        cursor.execute(question)
        return bool(cursor.fetchone()[0])
