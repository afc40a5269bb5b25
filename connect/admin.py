"""The admin site as a whole: its name, its way out, and a front page of figures from the apps' admins."""

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
    """A ModelAdmin that has `figures()`, an iterator of Figure, has a say on the front page."""

    site_header = site_title = "Connect"
    index_title = "Right now"
    site_url = None  # base_site.html links to it by its name

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
        """What the front page fetches again and again."""
        return TemplateResponse(request, "admin/dashboard.html", {"figures": self.figures(request)})

    def app_view(self, request: HttpRequest) -> HttpResponse:
        """Leads staff who have signed in back to where they were in the app, which asks by their session."""
        to = request.GET.get("to", "/")
        app_url = loopback.with_host_of(request, settings.APP_URL).rstrip("/")
        return HttpResponseRedirect(f"{app_url}/{to.removeprefix('/')}#session")

    def figures(self, request: HttpRequest) -> list[Figure]:
        """Of what this user may look at; where the database has no answer, that is said in its place."""
        found: list[Figure] = []
        for model_admin in self._registry.values():
            if not hasattr(model_admin, "figures") or not model_admin.has_view_permission(request):
                continue
            try:
                found.extend(model_admin.figures())
            except Error:
                key, name = f"no-{model_admin.opts.model_name}", str(model_admin.opts.verbose_name_plural)
                found.append(Figure(key, name.capitalize(), note="No answer from the database in time."))
        return found
