"""Searches all tables and columns of the database for a value."""

from collections.abc import Iterator

from django.db import connection
from psycopg2 import sql

# Columns of types that can have data of a person, without the tables of extensions.
_COLUMNS = """
SELECT columns.table_name, columns.column_name, columns.data_type
  FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
 WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name <> 'spatial_ref_sys'
   AND data_type IN ('smallint', 'integer', 'bigint', 'text', 'character varying', 'json', 'jsonb', 'bytea')
 ORDER BY 1, 2
"""


def columns_containing(text: str, *, and_bytes: bytes = b"") -> set[tuple[str, str]]:
    """Tables and columns with a value that contains `text` as a word; bytea: `text` or `and_bytes`."""
    return {
        (table, column)
        for table, column, kind in _columns()
        if _contains(table, column, kind, text, and_bytes)
    }


def _columns() -> Iterator[tuple[str, str, str]]:
    with connection.cursor() as cursor:
        cursor.execute(_COLUMNS)
        yield from cursor.fetchall()


def _contains(table: str, column: str, kind: str, text: str, and_bytes: bytes) -> bool:
    name = sql.Identifier(column)
    if kind == "bytea":
        found = sql.SQL("position({} IN {}) > 0 OR position({} IN {}) > 0").format(
            sql.Literal(text.encode()), name, sql.Literal(and_bytes or text.encode()), name
        )
    else:
        found = sql.SQL("{}::text ~ {}").format(name, sql.Literal(rf"(^|\W){text}($|\W)"))
    query = sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE {})").format(sql.Identifier(table), found)
    with connection.cursor() as cursor:
        cursor.execute(query)
        return bool(cursor.fetchone()[0])
