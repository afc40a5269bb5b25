"""Who calls a REST path, and whether it may: by its token, or, staff in a browser, by its session."""

from typing import Any, cast

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from access import callers
from access.callers import EDITORS, NOTED, SENDERS, Caller, Kind
from connect import request_context
from connect.middleware import KNOWN


class Bearer(BaseAuthentication):
    """`Authorization: Bearer …`; with ACCESS=open everybody is let in. `request.auth` is the Caller."""

    def authenticate(self, request: Request) -> tuple[None, Caller] | None:
        shown = request.headers.get("Authorization")
        if settings.ACCESS != "open" and shown is None:
            return None
        allowed = kinds((request.parser_context or {}).get("view"), request.method or "")
        caller = callers.by_header(
            shown or "", request.headers.get(NOTED, ""), sends=request.method == "POST" and allowed == SENDERS
        )
        if caller is None:
            raise exceptions.AuthenticationFailed("This token is not valid.")
        request_context.set_share(caller.share)
        if settings.ACCESS != "open":
            request.META[KNOWN] = caller.share
        if caller.kind is Kind.PERSON:
            request_context.shorten(settings.PERSON_TIMEOUT_S)
        return None, caller

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="Connect"'


class Session(SessionAuthentication):
    """Staff who signed in at the admin site. Changing anything takes the CSRF token, as there."""

    def authenticate(self, request: Request) -> tuple[None, Caller] | None:
        key = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
        caller = callers.of_session(key) if key else None
        if caller is None:
            return None
        self.enforce_csrf(request)
        request_context.set_share(caller.share)
        request.META[KNOWN] = caller.share
        return None, caller


class Allowed(BasePermission):
    """By the view's `callers`: which kinds may use a method. What a view does not name is for staff."""

    def has_permission(self, request: Request, view: Any) -> bool:
        caller = caller_of(request)
        return caller is not None and caller.may(kinds(view, request.method or ""))


def caller_of(request: Request) -> Caller:
    """Who was let in. (None is where nobody had to show anything.)"""
    return cast("Caller", request.auth)


def kinds(view: Any, method: str) -> frozenset[Kind]:
    """HEAD and OPTIONS are for those who may GET."""
    named = getattr(view, "callers", {})
    return named.get("GET" if method in ("HEAD", "OPTIONS") else method, EDITORS)


class _BearerScheme(OpenApiAuthenticationExtension):
    target_class = Bearer
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": (
                "A token of the kind that the call is for: `ingest`, `person` or `staff`. None is "
                "needed where ACCESS=open."
            ),
        }


class _SessionScheme(OpenApiAuthenticationExtension):
    target_class = Session
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.SESSION_COOKIE_NAME,
            "description": "Staff who signed in at the admin site.",
        }
