"""`manage.py replay_rejected`: what the writer set aside, recorded again."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError
from tqdm import tqdm

from consumers.models import RejectedPing
from consumers.replay import Summary, replay


class Command(BaseCommand):
    help = (
        "Records rejected pings again. Those that are taken now are rejected no more; the others stay. "
        "It can be interrupted and run again. "
        "Exit status: 0 done; 1 the database is out of reach; 130 interrupted."
    )

    def handle(self, **_: Any) -> None:
        summary = Summary()
        rejected = RejectedPing.objects.all()
        try:
            with tqdm(total=rejected.count(), unit=" pings", disable=None, leave=False) as progress:
                for summary in replay(rejected):
                    progress.update(summary.read - progress.n)
        except KeyboardInterrupt:
            self.stdout.write(str(summary))
            self.stderr.write("Interrupted; run it again for the rest.")
            sys.exit(130)
        except (OperationalError, InterfaceError) as fault:
            self.stdout.write(str(summary))
            raise CommandError(f"The database is out of reach: {fault}", returncode=1) from None
        self.stdout.write(str(summary))
