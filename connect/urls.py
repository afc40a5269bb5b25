"""The URLs of this process: health, docs and the apps in SERVED_APPS. Any other path is a 404."""

from csp.constants import SELF, UNSAFE_INLINE
from csp.decorators import csp_update
from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, path
from drf_spectacular.views import SpectacularRedocView, SpectacularSwaggerSplitView

from access import urls as access
from connect import neighbours
from connect.api_urls import APPS, ENTRY, HEALTH
from connect.web.entry_points import Schema, root
from locations import urls as locations
from persons import urls as persons
from phones import urls as phones
from webapp import urls as webapp

neighbours.check()

# Both create styles at run time, and Redoc runs its search in a worker from a blob.
SWAGGER = csp_update({"style-src": [SELF, UNSAFE_INLINE]})
REDOC = csp_update({"style-src": [SELF, UNSAFE_INLINE], "worker-src": ["blob:"]})

DOCS = [
    path("api/schema", Schema.as_view(), name="schema"),
    path(
        "api/docs",
        # No OPTIONS: DRF cannot describe this page.
        SWAGGER(SpectacularSwaggerSplitView.as_view(url_name="schema", http_method_names=["get", "head"])),
        name="docs",
    ),
    path(
        "api/redoc",
        REDOC(SpectacularRedocView.as_view(url_name="schema", template_name="connect/redoc.html")),
        name="redoc",
    ),
]

# Paths for other processes of Connect, by the app that serves them.
INTERNAL: dict[str, list[URLPattern | URLResolver]] = {
    "persons": [
        *persons.internal_urlpatterns,
        *access.internal_urlpatterns,
        *phones.internal_urlpatterns,
    ],
    "locations": locations.internal_urlpatterns,
}

MOUNTS: dict[str, list[URLPattern | URLResolver]] = {
    **APPS,
    "admin": [*access.admin_urlpatterns, path("admin/", admin.site.urls)],
    "internal": [one for app in settings.SERVED_APPS for one in INTERNAL.get(app, ())],
    "webapp": webapp.urlpatterns,
}

urlpatterns: list[URLPattern | URLResolver] = [*HEALTH, *ENTRY, *DOCS]
for app, patterns in MOUNTS.items():
    if app in settings.SERVED_APPS:
        urlpatterns += patterns
urlpatterns.append(path("", root, name="root"))  # if the web app is served, its page matches first

handler400 = "connect.web.rest.bad_request"
handler403 = "connect.web.rest.permission_denied"
handler404 = "connect.web.rest.not_found"
handler500 = "connect.web.rest.server_error"
