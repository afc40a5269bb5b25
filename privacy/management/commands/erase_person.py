"""`manage.py erase_person`: forgets a person, and prints the receipt."""

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

LOOK_AGAIN_S = 0.5


class Command(BaseCommand):
    help = (
        "Erases a person: the names, all stored and all rejected pings, in one transaction. Prints the "
        "receipt that is kept, as JSON; of somebody who was erased before, that one. Where PINGS_URL is a "
        "topic, writers drop what is still in it. It can be interrupted and run again. "
        "Exit status: 0 erased; 1 there never was such a person, or database or broker are out of reach; "
        "130 interrupted."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("person_id", type=int, metavar="ID")
        parser.add_argument(
            "--wait", action="store_true", help="until the writers have passed what was in the topic"
        )

    def handle(self, *, person_id: int, wait: bool, **_: Any) -> None:
        try:
            receipt = erasure.erase(person_id)
        except (OperationalError, InterfaceError) as fault:
            raise CommandError(f"The database is out of reach: {fault}", returncode=1) from None
        if receipt is None:
            raise CommandError(f"There is no person {person_id}, and none was erased.", returncode=1)
        try:
            self._follow(receipt, wait=wait)
        except NeighbourUnavailable as fault:
            self._print(receipt)
            raise CommandError(
                f"Erased; but the brokers are out of reach, so what is in the topic nobody knows: {fault}",
                returncode=1,
            ) from None
        except KeyboardInterrupt:
            self._print(receipt)
            self.stderr.write("Erased; run it again to wait for the writers.")
            sys.exit(130)
        self._print(receipt)

    def _follow(self, receipt: ErasureReceipt, *, wait: bool) -> None:
        if not erasure.has_topic():
            self.stderr.write("PINGS_URL names no topic here, so no pings are known to be on their way.")
        erasure.follow()
        receipt.refresh_from_db()
        while wait and not erasure.is_done(receipt):
            time.sleep(LOOK_AGAIN_S)
            erasure.follow()
            receipt.refresh_from_db()

    def _print(self, receipt: ErasureReceipt) -> None:
        said = receipt.as_json() | {"complete": erasure.is_done(receipt)}
        self.stdout.write(json.dumps(said, indent=2, cls=DjangoJSONEncoder))
