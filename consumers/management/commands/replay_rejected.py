"""`manage.py replay_rejected`: records rejected pings again."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError
from tqdm import tqdm

from consumers.models import RejectedPing
from consumers.replay import Summary, replay


class Command(BaseCommand):
    help = (
        "Records rejected pings again and removes the recorded ones from the table; the others stay. "
        "You can interrupt it and run it again. "
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
        except (OperationalError, InterfaceError) as error:
            self.stdout.write(str(summary))
            raise CommandError(f"The database is out of reach: {error}", returncode=1) from None
        self.stdout.write(str(summary))
