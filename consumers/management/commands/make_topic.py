"""`manage.py make_topic`: creates the topics, like migrate creates the tables."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from connect.errors import NeighbourUnavailable
from consumers import topic


class Command(BaseCommand):
    help = (
        "Creates the topic of pings at PINGS_URL unless it exists. "
        "With KAFKA_USER it also creates the access rules of the users producer, writer and observer; "
        "with --encounters also the users of KAFKA_USERS, and the rules of finder, live and webhooks. "
        "Exit status: 0 the topic exists; 1 the brokers are out of reach; 2 the topic has fewer partitions "
        "than requested, or the brokers refuse."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--partitions",
            type=int,
            default=settings.KAFKA_PARTITIONS,
            metavar="N",
            help="number of partitions; at most that many writers can share the topic "
            "(KAFKA_PARTITIONS, here %(default)s)",
        )

        parser.add_argument(
            "--encounters",
            action="store_true",
            help="also create the topic of encounters, with as many partitions as that of pings",
        )

    def handle(self, *, partitions: int, encounters: bool, **_: Any) -> None:
        if partitions < 1:
            raise CommandError("--partitions must be 1 or more.", returncode=2)
        made = {}
        try:
            made[settings.KAFKA_TOPIC] = topic.ensure(partitions)
            if encounters:
                made[settings.KAFKA_ENCOUNTERS_TOPIC] = topic.ensure_encounters(made[settings.KAFKA_TOPIC])
        except topic.TooFewPartitions as error:
            raise CommandError(str(error), returncode=2) from None
        except topic.BrokerRefused as error:
            raise CommandError(f"The brokers refuse: {error}", returncode=2) from None
        except NeighbourUnavailable as error:
            raise CommandError(f"The brokers are out of reach: {error}", returncode=1) from None
        for name, existing in made.items():
            self.stdout.write(f"The topic {name} exists, with {existing} partitions.")
