"""`manage.py drop_old_locations`: drops data older than RETENTION_DAYS or more than a day ahead."""

import sys
from argparse import ArgumentParser
from datetime import datetime
from itertools import chain
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from connect.partitions import Busy, MonthlyPartitions
from privacy import retention


class Command(BaseCommand):
    help = (
        "Drops each month of pings and of encounters that is wholly older than RETENTION_DAYS, rejected "
        "pings, deliveries of webhooks and rows of the audit log that are older, pings and encounters with "
        "a time more than a day "
        "ahead, and empty months. It does not block readers and writers. Run it once a day; it can be "
        "interrupted and run again. Exit status: 0 done; 1 the database is out of reach, or a month was in "
        "use and could not be dropped; 130 interrupted."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only print what would be dropped")

    def handle(self, *, dry_run: bool, **_: Any) -> None:
        moment = retention.cutoff()
        if moment is None:
            self.stdout.write("RETENTION_DAYS is 0: everything is kept.")
            return
        self.stdout.write(f"Wholly older than {moment:%Y-%m-%d %H:%M} UTC:")
        try:
            busy = self._drop(moment, dry_run=dry_run)
        except (OperationalError, InterfaceError) as fault:
            raise CommandError(f"The database is out of reach: {fault}", returncode=1) from None
        except KeyboardInterrupt:
            self.stderr.write("Interrupted; run it again for the rest.")
            sys.exit(130)
        if busy:
            raise CommandError(f"In use and not dropped: {', '.join(busy)}", returncode=1)

    def _drop(self, moment: datetime, *, dry_run: bool) -> list[str]:
        busy: list[str] = []
        would = "would be dropped" if dry_run else "dropped"
        months = 0
        rows: list[str] = []
        for table, word in retention.WORDS.items():
            table_months, table_rows = self._drop_rows(table, word, moment, busy, dry_run=dry_run)
            months += table_months
            rows.append(f"{table_rows:,} {word}")
        rejected = retention.rejected_before(moment) if dry_run else retention.drop_rejected(moment)
        questions = retention.questions_before(moment) if dry_run else retention.drop_questions(moment)
        if dry_run:
            refused = retention.refused_points_before(moment)
        else:
            refused = retention.drop_refused_points(moment)
        deliveries = retention.deliveries_before(moment) if dry_run else retention.drop_deliveries(moment)
        self.stdout.write(
            f"{months} months, {', '.join(rows)}, {rejected:,} rejected pings, {refused:,} counts of refused "
            f"points, {deliveries:,} deliveries of webhooks and {questions:,} lines of the audit log {would}."
        )
        return busy

    def _drop_rows(
        self, table: MonthlyPartitions, word: str, moment: datetime, busy: list[str], *, dry_run: bool
    ) -> tuple[int, int]:
        """Drops the rows of one table. Returns the numbers of months and of rows; adds to `busy`."""
        months = total = 0
        dropped: set[str] = set()
        would = "would be dropped" if dry_run else "dropped"
        latest = retention.future_cutoff()
        future = list(table.after(latest))
        for name, rows in chain(table.before(moment), future):
            outcome = would
            if not dry_run:
                try:
                    if not retention.drop_month(table, name):
                        outcome = "deleted; the next run drops the partition"
                except Busy:
                    busy.append(name)
                    continue
            self.stdout.write(f"{name}: {rows:,} {word} {outcome}")
            months, total = months + 1, total + rows
            dropped.add(name)
        if dry_run:
            ahead = retention.rows_after(table, latest) - sum(rows for _, rows in future)
        else:
            ahead = retention.drop_rows_after(table, latest)
        if ahead:
            self.stdout.write(f"{ahead:,} {word} after {latest:%Y-%m-%d %H:%M} UTC {would}")
            total += ahead
        empty = set(table.empty_months(timezone.now())) - dropped
        if not dry_run:
            empty = set(filter(table.drop_if_empty, sorted(empty)))
        if empty:
            self.stdout.write(f"{len(empty)} months without {word} {would}")
        return months, total
