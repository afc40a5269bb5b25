"""SESSION_ENGINE: a session ends SESSION_MAX_S after the login, or SESSION_IDLE_S after its last use."""

import time
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.http import HttpRequest
from django.utils import timezone

SIGNED_IN_AT = "signed_in_at"  # seconds since 1970
TOUCH_INTERVAL = timedelta(minutes=1)


class SessionStore(DatabaseStore):
    """Stores the end of the idle time as `expire_date`. Django sets it at each save."""

    def load(self) -> dict[str, Any]:
        data = super().load()
        if SESSION_KEY in data and data.get(SIGNED_IN_AT, 0) + settings.SESSION_MAX_S <= time.time():
            self.delete()
            self._session_key = None
            return {}
        return data

    def touch(self) -> None:
        """Restarts the idle time, because the session is in use."""
        end = timezone.now() + timedelta(seconds=settings.SESSION_IDLE_S)
        due = self.model.objects.filter(session_key=self.session_key, expire_date__lt=end - TOUCH_INTERVAL)
        due.update(expire_date=end)


def set_sign_in_time(request: HttpRequest, **_: Any) -> None:
    """Receiver of `user_logged_in`."""
    request.session[SIGNED_IN_AT] = time.time()
