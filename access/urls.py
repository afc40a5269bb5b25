from django.urls import URLPattern, URLResolver, path

from access import internal

# For other processes, not for clients; served where persons are, on a path that no route reaches.
internal_urlpatterns: list[URLPattern | URLResolver] = [
    path("internal/callers", internal.Callers.as_view(), name="internal-callers"),
]
