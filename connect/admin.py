"""The admin site: its name, its links to the app, and the dashboard on its front page."""

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db import Error
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse

from connect import loopback
from connect.dashboard import Figure


class Site(admin.AdminSite):
    """A ModelAdmin may have `figures()`, an iterator of Figure. The front page shows them."""

    site_header = site_title = "Connect"
    index_title = "Right now"
    site_url = None  # base_site.html has the link

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        by_session = settings.ACCESS == "tokens" and self.has_permission(request)
        app_url = reverse("admin:app") if by_session else loopback.with_host_of(request, settings.APP_URL)
        return super().each_context(request) | {"app_url": app_url}

    def get_urls(self) -> list[URLPattern | URLResolver]:
        return [
            path("figures/", self.admin_view(self.figures_view), name="figures"),
            path("app/", self.admin_view(self.app_view), name="app"),
            *super().get_urls(),
        ]

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        return super().index(request, {"figures": self.figures(request), **(extra_context or {})})

    def figures_view(self, request: HttpRequest) -> HttpResponse:
        """The figures as HTML. The front page fetches them repeatedly."""
        return TemplateResponse(request, "admin/dashboard.html", {"figures": self.figures(request)})

    def app_view(self, request: HttpRequest) -> HttpResponse:
        """Redirects staff to the page of the app they came from. The app then uses their session."""
        to = request.GET.get("to", "/")
        app_url = loopback.with_host_of(request, settings.APP_URL).rstrip("/")
        return HttpResponseRedirect(f"{app_url}/{to.removeprefix('/')}#session")

    def figures(self, request: HttpRequest) -> list[Figure]:
        """The figures that this user may view. A note replaces those the database does not give in time."""
        figures: list[Figure] = []
        for model_admin in self._registry.values():
            if not hasattr(model_admin, "figures") or not model_admin.has_view_permission(request):
                continue
            try:
                figures.extend(model_admin.figures())
            except Error:
                key, name = f"no-{model_admin.opts.model_name}", str(model_admin.opts.verbose_name_plural)
                figures.append(Figure(key, name.capitalize(), note="The database did not answer in time."))
        return figures
