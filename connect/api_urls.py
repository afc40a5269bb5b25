"""The REST paths of all apps: what the schema describes, in every process the same."""

from django.urls import URLPattern, URLResolver, path

from access import urls as access
from connect import health
from connect.web.entry_points import EntryPoints
from connections import urls as connections
from locations import urls as locations
from persons import urls as persons
from privacy import urls as privacy


def readiness_of(app: str) -> URLPattern:
    """Beside the app's paths, so that the proxy leads it to the process that serves them."""
    return path(f"health/ready/{app}", health.Ready.as_view(), {"app": app}, name=f"health-ready-{app}")


# The specific before the general: connections' paths begin like persons'.
APPS: dict[str, list[URLPattern | URLResolver]] = {
    "connections": [*connections.urlpatterns, readiness_of("connections")],
    # Tokens are kept, and people forgotten, where persons are.
    "persons": [*persons.urlpatterns, *privacy.urlpatterns, *access.urlpatterns],
    "locations": [*locations.urlpatterns, readiness_of("locations")],
}
# The one path of the API with a slash at its end.
ENTRY: list[URLPattern | URLResolver] = [path("api/", EntryPoints.as_view(), name="entry-points")]
HEALTH: list[URLPattern | URLResolver] = [
    path("health", health.Live.as_view(), name="health"),
    path("health/live", health.Live.as_view(), name="health-live"),
    path("health/ready", health.Ready.as_view(), name="health-ready"),
]
urlpatterns = [pattern for patterns in APPS.values() for pattern in patterns] + ENTRY + HEALTH
