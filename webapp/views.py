"""The Connect APP: one page for all its addresses. What it shows the browser asks of the public REST API."""

from pathlib import Path
from urllib.parse import urlsplit

from csp.constants import NONE, SELF
from csp.decorators import csp
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from connect import loopback

# Named in the page, so that the browser need not find them one import after the other.
MODULES = sorted(f"webapp/{path.name}" for path in Path(__file__).parent.glob("static/webapp/*.js"))


TILES = urlsplit(settings.TILES_URL.replace("{s}", "*"))
# The page runs its own files alone and speaks with the API alone; tiles come from where they are set to.
POLICY = {
    "default-src": [NONE],
    "script-src": [SELF],
    "style-src": [SELF],
    "connect-src": [SELF, *loopback.origins(settings.API_URL)],
    "img-src": [SELF, "data:", *([f"{TILES.scheme}://{TILES.netloc}"] if TILES.netloc else [])],
    "base-uri": [NONE],
    "form-action": [SELF],
    "frame-ancestors": [NONE],
}


@csp(POLICY)
@require_safe
def page(request: HttpRequest, **_: object) -> HttpResponse:
    told = {
        "modules": MODULES,
        "api_url": loopback.with_host_of(request, settings.API_URL).rstrip("/"),
        "access": settings.ACCESS,
        "tiles_url": settings.TILES_URL,
        "tiles_attribution": settings.TILES_ATTRIBUTION,
    }
    return render(request, "webapp/page.html", told)
