"""What happens to a request before any view sees it."""

import ipaddress
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse

DRAINED = 64 * 1024 * 1024  # bytes read and thrown away, so that a client in mid-send hears the answer


def client_address(request: HttpRequest) -> str:
    """Where the request comes from, which the proxy says in a header of one address (k8s/proxy/defaults.cfg).

    A door without a proxy before it takes a client's word here: by name, too, nobody tries without end.
    """
    said = request.headers.get("X-Forwarded-For", "").strip()
    try:
        return str(ipaddress.ip_address(said))
    except ValueError:
        return str(request.META.get("REMOTE_ADDR") or "127.0.0.1")


class BodyLimit:
    """413 for a body on /api over BODY_LIMIT bytes, before a byte of it is kept."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        length = int(request.META.get("CONTENT_LENGTH") or 0)
        if length <= settings.BODY_LIMIT or not request.path.startswith("/api"):
            return self.get_response(request)
        left = min(length, DRAINED)
        while left > 0 and (chunk := request.read(min(left, 65536))):
            left -= len(chunk)
        detail = f"The body has {length} bytes; {settings.BODY_LIMIT} are allowed."
        response = JsonResponse({"detail": detail}, status=413)
        if length > DRAINED:
            response["Connection"] = "close"
        return response
