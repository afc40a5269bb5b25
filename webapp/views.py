"""The Connect APP: pages that talk to nothing but the public REST API."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    return render(request, "webapp/home.html", {"api_url": settings.API_URL})
