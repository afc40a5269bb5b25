from django.urls import URLPattern, URLResolver, path

from access import internal, views

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/caller", views.WhoAmI.as_view(), name="caller"),
    path("api/caller/exchange", views.Exchange.as_view(), name="exchange"),
]

# For other processes, not for clients: served where persons are, and where SERVED_APPS says so.
internal_urlpatterns: list[URLPattern | URLResolver] = [
    path("internal/callers", internal.Callers.as_view(), name="internal-callers"),
]
