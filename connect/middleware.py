"""What happens to a request before any view sees it."""

import ipaddress
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse

KNOWN = "connect.known"  # in the environ: the caller showed a valid token or session
REFUSED = "connect.refused"  # in the environ: why connect.asgi did not receive the body


def client_address(request: HttpRequest) -> str:
    """Where the request comes from, which the proxy says in a header of one address (k8s/proxy/defaults.cfg).

    A door without a proxy before it takes a client's word here: by name, too, nobody tries without end.
    """
    said = request.headers.get("X-Forwarded-For", "").strip()
    try:
        return str(ipaddress.ip_address(said))
    except ValueError:
        return str(request.META.get("REMOTE_ADDR") or "127.0.0.1")


class KnownCaller:
    """Tells the proxy that the token or session of this request is valid (k8s/proxy/defaults.cfg).

    The proxy takes the header out of the answer, and counts the caller's next calls by what it showed.
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
    """Answers requests whose body was not received (connect.asgi), and /api bodies over BODY_LIMIT bytes.

    A caller who is not known gets the view's own 401: the view never reads the body.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        length = int(request.META.get("CONTENT_LENGTH") or 0)
        refused = request.META.get(REFUSED)
        if refused is None and length > settings.BODY_LIMIT and request.path.startswith("/api"):
            refused = "too large"
        match refused:
            case "too large":
                detail = f"The body has {length} bytes or more; {settings.BODY_LIMIT} are allowed."
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
