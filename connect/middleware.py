"""Middleware, the client address, and a request class that tolerates bad headers."""

import hmac
import ipaddress
import re
from collections.abc import Callable, Mapping
from encodings.aliases import aliases
from typing import Any

import orjson
from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.cache import patch_vary_headers
from django.utils.http import parse_header_parameters

KNOWN = "connect.known"  # environ key: the token or session of the caller is valid
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
_EXTENDED = re.compile(r"\*[0-9]*\s*=")  # RFC 2231: `name*=charset'language'value`, `name*0=…`


def content_type_fault(value: str) -> str | None:
    """The error if the charset of a Content-Type is no text encoding, else None."""
    if ";" not in value:
        return None
    if _EXTENDED.search(value):
        return "Unsupported extended parameter in request Content-Type header."
    charset = parse_header_parameters(value)[1].get("charset")
    if not charset or charset.lower().replace("-", "_") in _CHARSETS:
        return None
    return f'Unsupported charset "{charset}" in request Content-Type header.'


class Request(WSGIRequest):
    """A request that ignores a bad charset and decodes its query string as UTF-8.

    Django would decode the query string with the charset of the body, in the constructor of the request.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        value = meta.get("CONTENT_TYPE", "")
        fault = content_type_fault(value)  # ReadableHeaders returns the 415
        self.content_type, self.content_params = ("", {}) if fault else parse_header_parameters(value)


class ReadableHeaders:
    """415 for a Content-Type whose charset is no text encoding, 406 for an unreadable Accept."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if detail := content_type_fault(request.META.get("CONTENT_TYPE", "")):
            return JsonResponse({"detail": detail}, status=415)
        if _EXTENDED.search(request.META.get("HTTP_ACCEPT", "")):
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


class KnownCaller:
    """Tells the proxy that the token or session of this request is valid (k8s/proxy/defaults.cfg).

    The proxy removes the header from the response and then counts the next calls per token or session.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        user = getattr(request, "user", None)
        on_admin_site = request.path.startswith("/admin/") and user is not None and user.is_authenticated
        if on_admin_site or KNOWN in request.META:
            response["X-Connect-Known"] = "1"
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
