from typing import Any

from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_in
from django.db.models.signals import post_migrate


def _admit(**_: Any) -> None:
    from access import services  # noqa: PLC0415 - models are not there yet when this file is read

    services.admit_processes()


class AccessConfig(AppConfig):
    name = "access"

    def ready(self) -> None:
        from access import lockout, sessions  # noqa: PLC0415 - models are not there yet when this file is read

        post_migrate.connect(_admit, sender=self)
        user_logged_in.connect(sessions.begin)
        user_logged_in.connect(lockout.forget_addresses)
