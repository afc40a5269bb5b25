"""What staff look at in the admin site is noted, too: there are no doors that the audit log does not know."""

import re
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from access import services
from connect.callers import Asking, Caller, Kind

_ABOUT_PEOPLE = ("persons_", "locations_", "consumers_", "privacy_")


class NotedInAdmin:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *_: Any) -> None:
        """Before anything is shown or done, so that of somebody who is erased no line is left."""
        match = request.resolver_match
        if match is None or match.app_name != "admin" or not request.user.is_staff:
            return
        name = match.url_name or ""
        if name.startswith(_ABOUT_PEOPLE):
            who = (
                match.kwargs.get("object_id") or match.kwargs.get("person_id") or request.GET.get("person_id")
            )
            first = re.match(r"[1-9][0-9]{0,17}(?![0-9])", str(who or ""), re.ASCII)
            asking = Asking(f"{request.method} admin {name}", int(first[0]) if first else None)
            services.note(Caller(Kind.STAFF, f"user {request.user.get_username()}"), asking)
