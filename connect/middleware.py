"""Middleware, the client address, and a request class that tolerates bad headers."""

import hmac
import ipaddress
import re
import zlib
from collections.abc import Callable, Mapping
from encodings.aliases import aliases
from functools import lru_cache
from typing import Any

import orjson
from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse, JsonResponse, parse_cookie
from django.utils.cache import patch_vary_headers
from django.utils.functional import cached_property
from django.utils.http import parse_header_parameters

from access.callers import staff_caller

KNOWN = "connect.known"  # environ key: the share (access.callers) of an identified caller
BODY_REFUSED = "connect.refused"  # environ key: why connect.asgi did not receive the body


def client_address(environ: Mapping[str, Any]) -> str:
    """The client's address; from X-Forwarded-For if the proxy sent the request (k8s/proxy/defaults.cfg).

    Otherwise the header is ignored. Only the proxy knows PROXY_SECRET, which it sends in X-Connect-Proxy; it
    overwrites a value from the client.
    """
    secret = environ.get("HTTP_X_CONNECT_PROXY", "").encode()
    is_proxy = bool(secret) and hmac.compare_digest(secret, settings.PROXY_SECRET.encode())
    forwarded_for = environ.get("HTTP_X_FORWARDED_FOR", "").strip() if is_proxy else ""
    try:
        return str(ipaddress.ip_address(forwarded_for))
    except ValueError:
        return str(environ.get("REMOTE_ADDR") or "127.0.0.1")


# --- headers that Django would decode with a codec of the client's choice ------------------------

# These codecs transform bytes; they are no text encodings. `codecs.lookup` would cache every unknown name for
# ever.
_TRANSFORMS = {"base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec"}
_CHARSETS = {
    name
    for alias, codec in aliases.items()
    if codec not in _TRANSFORMS | {"mbcs", "tactis"}
    for name in (alias, codec)
}
# Django parses parameters in quotes in time that grows with the square of their length, before it knows the
# caller: 1 s for 31 kB.
LONGEST_CONTENT_TYPE = 255
LONGEST_ACCEPT = 1000
_EXTENDED = re.compile(r"\*[0-9]*\s*=")  # RFC 2231: `name*=charset'language'value`, `name*0=…`


def content_type_fault(value: str) -> str | None:
    """The error if a Content-Type is too long or its charset is no text encoding, else None."""
    if ";" not in value:
        return None
    if len(value) > LONGEST_CONTENT_TYPE:
        return f"The Content-Type header has {len(value)} bytes; {LONGEST_CONTENT_TYPE} are allowed."
    if _EXTENDED.search(value):
        return "Unsupported extended parameter in request Content-Type header."
    charset = parse_header_parameters(value)[1].get("charset")
    if not charset or charset.lower().replace("-", "_") in _CHARSETS:
        return None
    return f'Unsupported charset "{charset}" in request Content-Type header.'


def session_key(cookie_header: str) -> str:
    """The value of the session cookie; empty if there is none, or not exactly one of letters and digits.

    The proxy counts calls by the first cookie of the name as it is sent. Django would take the last and
    remove quotes.
    """
    pairs = (each.partition("=") for each in cookie_header.split(";"))
    found = [value.strip() for name, _, value in pairs if name.strip() == settings.SESSION_COOKIE_NAME]
    return found[0] if len(found) == 1 and found[0].isascii() and found[0].isalnum() else ""


class Request(WSGIRequest):
    """A request that ignores a bad Content-Type or session cookie and decodes its query string as UTF-8.

    Django would decode the query string with the charset of the body, in the constructor of the request.
    """

    @cached_property
    def COOKIES(self) -> dict[str, str]:  # type: ignore[override] # noqa: N802 - Django's name
        """The session cookie only if it is unambiguous."""
        text = self.META.get("HTTP_COOKIE", "")
        cookies: dict[str, str] = parse_cookie(text)
        if settings.SESSION_COOKIE_NAME in cookies and not session_key(text):
            del cookies[settings.SESSION_COOKIE_NAME]
        return cookies

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        value = meta.get("CONTENT_TYPE", "")
        fault = content_type_fault(value)  # ReadableHeaders returns the 415
        self.content_type, self.content_params = ("", {}) if fault else parse_header_parameters(value)


class ReadableHeaders:
    """415 for a Content-Type and 406 for an Accept that are too long or unreadable."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if detail := content_type_fault(request.META.get("CONTENT_TYPE", "")):
            return JsonResponse({"detail": detail}, status=415)
        accepted = request.META.get("HTTP_ACCEPT", "")
        if len(accepted) > LONGEST_ACCEPT or _EXTENDED.search(accepted):
            return JsonResponse({"detail": _NOT_ACCEPTABLE}, status=406)
        return self.get_response(request)


# --- responses -----------------------------------------------------------------------------------

_NOT_ACCEPTABLE = "Could not satisfy the request Accept header."
_DETAILS = {
    400: "Bad request.",
    403: "You do not have permission to perform this action.",
    404: "Not found.",
    500: "A server error occurred.",
}


class NoStore:
    """Sets `Cache-Control: no-store` on API responses without that header."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if request.path.startswith("/api"):
            response.headers.setdefault("Cache-Control", "no-store")
        return response


class JsonForJsonClients:
    """Replaces HTML by JSON for a client that accepts JSON but not HTML.

    An error keeps its status; a page with a 2xx status becomes a 406.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if not response.get("Content-Type", "").startswith("text/html"):
            return response
        patch_vary_headers(response, ["Accept"])
        if request.accepts("text/html") or not request.accepts("application/json"):
            return response
        if response.status_code < 300:
            response.status_code = 406
        detail = _DETAILS.get(response.status_code, f"{response.reason_phrase}.")
        response.content = orjson.dumps(
            {"detail": _NOT_ACCEPTABLE if response.status_code == 406 else detail}
        )
        response.headers["Content-Type"] = "application/json"
        response.headers["Content-Length"] = str(len(response.content))
        return response


@lru_cache(maxsize=10_000)
def known_number(share: str) -> bytes:
    """The number of a caller for the proxy."""
    return b"%d" % (1 + zlib.crc32(share.encode()) // 2)


class KnownCaller:
    """Tells the proxy the number of an identified caller (k8s/proxy/defaults.cfg).

    The proxy removes the header from the response and then counts the next calls by this number: all
    sessions of a user share a budget, and no spelling of a token or cookie gets its own.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        user = getattr(request, "user", None)
        share = request.META.get(KNOWN)
        if (
            share is None
            and request.path.startswith("/admin/")
            and user is not None
            and user.is_authenticated
        ):
            share = staff_caller(user).share
        if share is not None:
            response["X-Connect-Known"] = known_number(share).decode()
        return response


class Refusals:
    """Returns the error for a body that was not received (connect.asgi) or exceeds BODY_LIMIT bytes on /api.

    An unauthenticated caller gets the 401 of the view, which never reads the body.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        length = int(request.META.get("CONTENT_LENGTH") or 0)
        refused = request.META.get(BODY_REFUSED)
        if refused is None and length > settings.BODY_LIMIT and request.path.startswith("/api"):
            refused = "too large"
        match refused:
            case "too large":
                detail = f"The body has {length} bytes; {settings.BODY_LIMIT} are allowed."
                return JsonResponse({"detail": detail}, status=413)
            case "late":
                return JsonResponse({"detail": "The request did not arrive in time."}, status=408)
            case "too many":
                detail = "Too many large requests at once. Expected available in 5 seconds."
                return JsonResponse({"detail": detail}, status=429, headers={"Retry-After": "5"})
            case "unavailable":
                detail = "What this call needs is out of reach. Sending it again is safe."
                return JsonResponse({"detail": detail}, status=503, headers={"Retry-After": "2"})
        return self.get_response(request)
