from typing import Any

from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_in
from django.db.models.signals import post_migrate


def _sync_service_tokens(**_: Any) -> None:
    from access import services  # noqa: PLC0415 - models are not loaded yet

    services.sync_service_tokens()


class AccessConfig(AppConfig):
    name = "access"

    def ready(self) -> None:
        from access import lockout, sessions  # noqa: PLC0415 - models are not loaded yet

        post_migrate.connect(_sync_service_tokens, sender=self)
        user_logged_in.connect(sessions.set_sign_in_time)
        user_logged_in.connect(lockout.forget_old_logins)
