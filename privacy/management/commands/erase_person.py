"""`manage.py erase_person`: erases a person and prints the receipt."""

import json
import sys
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import InterfaceError, OperationalError

from connect.errors import NeighbourUnavailable
from privacy import erasure
from privacy.models import ErasureReceipt

POLL_S = 0.5


class Command(BaseCommand):
    help = (
        "Erases a person: names, stored pings and rejected pings, in one transaction. Prints the receipt as "
        "JSON; for a person who was erased before, the existing one. If PINGS_URL is a topic, the writers "
        "drop the pings that are still in it. It can be interrupted and run again. "
        "Exit status: 0 erased; 1 there never was such a person, or the database or the broker is out of "
        "reach; 130 interrupted."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("person_id", type=int, metavar="ID")
        parser.add_argument(
            "--wait",
            action="store_true",
            help="wait until the writers have passed the person's pings in the topic",
        )

    def handle(self, *, person_id: int, wait: bool, **_: Any) -> None:
        try:
            receipt = erasure.erase(person_id)
        except (OperationalError, InterfaceError) as fault:
            raise CommandError(f"The database is out of reach: {fault}", returncode=1) from None
        if receipt is None:
            raise CommandError(f"There is no person {person_id}, and no receipt of an erasure.", returncode=1)
        try:
            self._track(receipt, wait=wait)
        except NeighbourUnavailable as fault:
            self._print(receipt)
            raise CommandError(
                f"Erased; but the brokers are out of reach, so the topic could not be checked: {fault}",
                returncode=1,
            ) from None
        except KeyboardInterrupt:
            self._print(receipt)
            self.stderr.write("Erased; run it again to wait for the writers.")
            sys.exit(130)
        self._print(receipt)

    def _track(self, receipt: ErasureReceipt, *, wait: bool) -> None:
        if not erasure.has_topic():
            self.stderr.write("PINGS_URL is not a topic in this process, so waiting pings cannot be checked.")
        erasure.update_receipts()
        receipt.refresh_from_db()
        while wait and not erasure.is_complete(receipt):
            time.sleep(POLL_S)
            erasure.update_receipts()
            receipt.refresh_from_db()

    def _print(self, receipt: ErasureReceipt) -> None:
        fields = receipt.as_json() | {"complete": erasure.is_complete(receipt)}
        self.stdout.write(json.dumps(fields, indent=2, cls=DjangoJSONEncoder))
