"""What happens to a request before any view sees it."""

import hmac
import ipaddress
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse

REFUSED = "connect.refused"  # in the environ: why connect.asgi did not receive the body


def client_address(request: HttpRequest) -> str:
    """The client's address, which the proxy says in X-Forwarded-For (k8s/proxy/defaults.cfg).

    A process that is reached without the proxy does not believe that header: the proxy alone knows
    PROXY_SECRET, and overwrites what a client sends in X-Connect-Proxy.
    """
    shown = request.headers.get("X-Connect-Proxy", "").encode()
    is_proxy = bool(shown) and hmac.compare_digest(shown, settings.PROXY_SECRET.encode())
    said = request.headers.get("X-Forwarded-For", "").strip() if is_proxy else ""
    try:
        return str(ipaddress.ip_address(said))
    except ValueError:
        return str(request.META.get("REMOTE_ADDR") or "127.0.0.1")


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
