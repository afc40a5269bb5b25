"""The Connect APP: one page for all its paths. Its scripts read all data from the public REST API."""

import base64
import hashlib
import json
from pathlib import Path
from urllib.parse import urlsplit

from csp.constants import NONE, SELF
from csp.decorators import csp
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.templatetags.static import static
from django.views.decorators.http import require_safe

from connect import __version__, loopback

# The scripts of every view, of those with a map, of the heat map, and of those with curves. The page preloads
# them, so that the browser does not discover them import by import.
SCRIPTS = ["webapp/app.js", "vendor/htm/standalone.module.js"]
MAP_SCRIPTS = ["vendor/leaflet/leaflet.js"]
CHART_SCRIPTS = ["vendor/uplot/uPlot.esm.js"]
HEAT_SCRIPTS = ["vendor/leaflet.heat/leaflet-heat.js"]

# It is part of the page: as a file of its own it would come half a second later on a slow phone.
EARLY_SCRIPT = (Path(__file__).parent / "templates/webapp/early.js").read_text()
_EARLY_HASH = base64.b64encode(hashlib.sha256(EARLY_SCRIPT.encode()).digest()).decode()

_TILES = urlsplit(settings.TILES_URL.replace("{s}", "*"))
# The page loads only its own files, the API and the configured tile server.
CSP_POLICY = {
    "default-src": [NONE],
    "script-src": [SELF, f"'sha256-{_EARLY_HASH}'"],
    "style-src": [SELF],
    "manifest-src": [SELF],
    "worker-src": [SELF],
    "connect-src": [SELF, *loopback.origins(settings.API_URL)],
    "img-src": [SELF, "data:", *([f"{_TILES.scheme}://{_TILES.netloc}"] if _TILES.netloc else [])],
    "base-uri": [NONE],
    "form-action": [SELF],
    "frame-ancestors": [NONE],
}
# The files of the page, which a phone keeps for when it has no network (webapp/sw.js).
FILES = [
    "vendor/leaflet/leaflet.css",
    "vendor/uplot/uPlot.min.css",
    "webapp/app.css",
    "webapp/icon.svg",
    *SCRIPTS,
    *MAP_SCRIPTS,
]


@require_safe
def manifest(_request: HttpRequest) -> JsonResponse:
    """Lets a phone install the page that shares its position."""
    content = {
        "name": "Connect",
        "short_name": "Connect",
        "description": "Share your position at an event and see whom you meet.",
        "start_url": "/share",
        "scope": "/",
        "display": "standalone",
        "background_color": "#fbfaf7",
        "theme_color": "#0b6e63",
        "icons": [{"src": static("webapp/icon.svg"), "sizes": "any", "type": "image/svg+xml"}],
    }
    return JsonResponse(content, content_type="application/manifest+json")


@csp(CSP_POLICY)
@require_safe
def service_worker(request: HttpRequest) -> HttpResponse:
    """The script that keeps the page. A change of any file or of a setting gives its store another name."""
    files = [static(name) for name in FILES]
    shown = [__version__, settings.API_URL, settings.ACCESS, settings.TILES_URL, *files]
    digest = hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:12]
    context = {"files": json.dumps(files), "digest": digest}
    return render(request, "webapp/sw.js", context, content_type="text/javascript")


@csp(CSP_POLICY)
@require_safe
def page(request: HttpRequest, **_: object) -> HttpResponse:
    view = request.resolver_match.url_name if request.resolver_match else None
    has_map = view in ("overview", "person", "crowd")
    has_heat = has_map and request.GET.get("show") == "heat"
    context = {
        "early_script": EARLY_SCRIPT,
        "scripts": [
            *SCRIPTS,
            *(MAP_SCRIPTS if has_map else []),
            *(HEAT_SCRIPTS if has_heat else []),
            *(CHART_SCRIPTS if view == "overview" else []),
        ],
        "api_url": loopback.with_host_of(request, settings.API_URL).rstrip("/"),
        "access": settings.ACCESS,
        "version": __version__,
        "tiles_url": settings.TILES_URL,
        "tiles_attribution": settings.TILES_ATTRIBUTION,
    }
    return render(request, "webapp/page.html", context)
