"""`manage.py reset_second_factor USER`: for staff who have lost their authenticator app."""

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django_otp.plugins.otp_totp.models import TOTPDevice


class Command(BaseCommand):
    help = (
        "Removes a user's authenticator app. Their sessions end, and they enrol a new app at the next login."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user", help="the user's name")

    def handle(self, *, user: str, **_: Any) -> None:
        found = get_user_model().objects.filter(username=user).first()
        if found is None:
            raise CommandError(f"There is no user {user!r}.")
        count, _each = TOTPDevice.objects.filter(user=found).delete()
        self.stdout.write(f"Removed: {count}")
