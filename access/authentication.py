"""Authentication and permission of REST calls: by token, or by session for staff in a browser."""

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
    """`Authorization: Bearer …`. With ACCESS=open any caller passes. `request.auth` is the Caller."""

    def authenticate(self, request: Request) -> tuple[None, Caller] | None:
        authorization = self.authorization(request)
        if settings.ACCESS != "open" and authorization is None:
            return None
        if settings.ACCESS == "open" and is_from_another_site(request):
            # Without credentials, every page that the user of the machine visits could change everything.
            raise exceptions.PermissionDenied("Another website sent this call.")
        allowed = allowed_kinds((request.parser_context or {}).get("view"), request.method or "")
        caller = callers.identify_authorization(
            authorization or "",
            request.headers.get(NOTED, ""),
            sends_pings=allowed == SENDERS,
        )
        if caller is None:
            raise exceptions.AuthenticationFailed("This token is not valid.")
        request_context.set_share(caller.share)
        if settings.ACCESS != "open":
            request.META[KNOWN] = caller.share
        if caller.kind is Kind.PERSON:
            request_context.shorten(settings.PERSON_TIMEOUT_S)
        return None, caller

    def authorization(self, request: Request) -> str | None:
        """The value with the token; None if the caller sends none."""
        return request.headers.get("Authorization")

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="Connect"'


class Session(SessionAuthentication):
    """The session of staff who signed in at the admin site. Changes need the CSRF token, as there."""

    def authenticate(self, request: Request) -> tuple[None, Caller] | None:
        key = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
        caller = callers.identify_session(key) if key else None
        if caller is None:
            return None
        self.enforce_csrf(request)
        request_context.set_share(caller.share)
        request.META[KNOWN] = caller.share
        return None, caller


class Allowed(BasePermission):
    """Checks `callers` of the view: the kinds that may use a method. Other methods are for staff."""

    def has_permission(self, request: Request, view: Any) -> bool:
        caller = caller_of(request)
        return caller is not None and caller.may(allowed_kinds(view, request.method or ""))


def is_from_another_site(request: Request) -> bool:
    """Whether a page of another website lets the browser change something. Such a call has no CSRF token."""
    view = (request.parser_context or {}).get("view")
    if request.method in ("GET", "HEAD", "OPTIONS") and allowed_kinds(view, request.method) != SENDERS:
        return False
    origin = request.headers.get("Origin")
    if origin is None:
        return request.headers.get("Sec-Fetch-Site") == "cross-site"
    own = origin.partition("://")[2] == request.get_host()
    return not own and origin not in settings.CORS_ALLOWED_ORIGINS


def caller_of(request: Request) -> Caller:
    """The authenticated caller; None at a view that needs no authentication."""
    return cast("Caller", request.auth)


def allowed_kinds(view: Any, method: str) -> frozenset[Kind]:
    """The kinds that may use a method of a view. HEAD and OPTIONS count as GET."""
    by_method = getattr(view, "callers", {})
    return by_method.get("GET" if method in ("HEAD", "OPTIONS") else method, EDITORS)


class _BearerScheme(OpenApiAuthenticationExtension):
    target_class = Bearer
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": (
                "A token of a kind that may make the call: `ingest`, `person` or `staff`. Not needed with "
                "ACCESS=open."
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
            "description": "The session of staff who signed in at the admin site.",
        }
