"""The Connect APP: one page for all its paths. Its scripts read all data from the public REST API."""

from pathlib import Path
from urllib.parse import urlsplit

from csp.constants import NONE, SELF
from csp.decorators import csp
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from connect import __version__, loopback

# The page preloads all modules, so that the browser does not discover them import by import.
MODULES = sorted(f"webapp/{path.name}" for path in Path(__file__).parent.glob("static/webapp/*.js"))

_TILES = urlsplit(settings.TILES_URL.replace("{s}", "*"))
# The page loads only its own files, the API and the configured tile server.
CSP_POLICY = {
    "default-src": [NONE],
    "script-src": [SELF],
    "style-src": [SELF],
    "connect-src": [SELF, *loopback.origins(settings.API_URL)],
    "img-src": [SELF, "data:", *([f"{_TILES.scheme}://{_TILES.netloc}"] if _TILES.netloc else [])],
    "base-uri": [NONE],
    "form-action": [SELF],
    "frame-ancestors": [NONE],
}


@csp(CSP_POLICY)
@require_safe
def page(request: HttpRequest, **_: object) -> HttpResponse:
    context = {
        "modules": MODULES,
        "api_url": loopback.with_host_of(request, settings.API_URL).rstrip("/"),
        "access": settings.ACCESS,
        "version": __version__,
        "tiles_url": settings.TILES_URL,
        "tiles_attribution": settings.TILES_ATTRIBUTION,
    }
    return render(request, "webapp/page.html", context)
