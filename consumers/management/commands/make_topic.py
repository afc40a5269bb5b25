"""`manage.py make_topic`: makes the topic of pings, as migrate makes the tables."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from connect.errors import NeighbourUnavailable
from consumers import topic


class Command(BaseCommand):
    help = (
        "Makes the topic of pings at PINGS_URL unless it is there. "
        "With KAFKA_USER it also makes the access rules of the users producer, writer and observer. "
        "Exit status: 0 it is there; 1 the brokers are out of reach; 2 it has fewer partitions than asked, "
        "or the brokers refuse."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--partitions",
            type=int,
            default=settings.KAFKA_PARTITIONS,
            metavar="N",
            help="how many writers can share it (KAFKA_PARTITIONS, here %(default)s)",
        )

    def handle(self, *, partitions: int, **_: Any) -> None:
        if partitions < 1:
            raise CommandError("--partitions must be 1 or more.", returncode=2)
        try:
            there = topic.ensure(partitions)
        except topic.TooFewPartitions as fault:
            raise CommandError(str(fault), returncode=2) from None
        except topic.BrokerRefused as fault:
            raise CommandError(f"The brokers refuse: {fault}", returncode=2) from None
        except NeighbourUnavailable as fault:
            raise CommandError(f"The brokers are out of reach: {fault}", returncode=1) from None
        self.stdout.write(f"The topic {settings.KAFKA_TOPIC} is there, with {there} partitions.")
