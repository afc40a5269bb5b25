"""Run all parts of the bench and write docs/benchmarks.md. The database is empty at the start."""

import argparse
import importlib
import os
import sys
from pathlib import Path

import django
from django.db import connection

TARGET = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
WHOLE = 1000  # people of the whole bench; with fewer, everything is smaller and ends sooner
NAMES = ("question", "doors", "page_load", "ingest", "encounters")
DATABASE = """
SELECT current_setting('server_version'), postgis_lib_version(),
       string_agg(name || ' = ' || current_setting(name), ', ' ORDER BY name)
  FROM pg_settings
 WHERE name IN ('effective_cache_size', 'jit', 'max_parallel_workers_per_gather', 'random_page_cost',
                'shared_buffers', 'work_mem', 'fsync', 'synchronous_commit', 'full_page_writes')
"""


def main() -> None:
    parser = argparse.ArgumentParser("make bench", description=__doc__)
    parser.add_argument("people", nargs="?", type=int, default=WHOLE, help="at the event; fewer for a trial")
    parser.add_argument("--only", choices=NAMES, action="append", help="run this part and write no file")
    options = parser.parse_args()
    names = options.only or NAMES

    from bench import event, report  # noqa: PLC0415 - django.setup comes first

    stored = event.store(options.people, options.people / WHOLE)
    parts: list[report.Part] = []
    for name in names:
        for part in importlib.import_module(f"bench.{name}").parts(stored):
            print(part.markdown(), flush=True)
            parts.append(part)
    if options.people == WHOLE and names == NAMES:
        with connection.cursor() as cursor:
            cursor.execute(DATABASE)
            postgresql, postgis, settings = cursor.fetchone()
        database = f"PostgreSQL {postgresql.split()[0]}, PostGIS {postgis}; {settings}"
        TARGET.write_text(report.document(parts, database))
        print(f"{TARGET} is written.", file=sys.stderr)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "connect.settings")
    django.setup()
    main()
