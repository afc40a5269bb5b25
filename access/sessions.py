"""SESSION_ENGINE: sessions end SESSION_MAX_S after the login, and SESSION_IDLE_S after their last use."""

import time
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.http import HttpRequest
from django.utils import timezone

SIGNED_IN = "signed_in_at"  # seconds since 1970
TOUCHED_EVERY = timedelta(minutes=1)


class SessionStore(DatabaseStore):
    """The database's `expire_date` is the end of the idle time; each save of Django's sets it, too."""

    def load(self) -> dict[str, Any]:
        found = super().load()
        if SESSION_KEY in found and found.get(SIGNED_IN, 0) + settings.SESSION_MAX_S <= time.time():
            self.delete()
            self._session_key = None
            return {}
        return found

    def touch(self) -> None:
        """The session is in use: its idle time begins anew."""
        end = timezone.now() + timedelta(seconds=settings.SESSION_IDLE_S)
        found = self.model.objects.filter(session_key=self.session_key, expire_date__lt=end - TOUCHED_EVERY)
        found.update(expire_date=end)


def begin(request: HttpRequest, **_: Any) -> None:
    """On each login."""
    request.session[SIGNED_IN] = time.time()
