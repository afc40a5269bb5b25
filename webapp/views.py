"""The Connect APP: one page for all its addresses. What it shows the browser asks of the public REST API."""

from pathlib import Path

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

# Named in the page, so that the browser need not find them one import after the other.
MODULES = sorted(f"webapp/{path.name}" for path in Path(__file__).parent.glob("static/webapp/*.js"))


@require_safe
def page(request: HttpRequest, **_: object) -> HttpResponse:
    told = {
        "modules": MODULES,
        "api_url": settings.API_URL.rstrip("/"),
        "access": settings.ACCESS,
        "tiles_url": settings.TILES_URL,
        "tiles_attribution": settings.TILES_ATTRIBUTION,
    }
    return render(request, "webapp/page.html", told)
