"""The REST paths of all apps. Every process describes all of them in its schema."""

from django.urls import URLPattern, URLResolver, path

from access import urls as access
from connect import health
from connect.web.entry_points import EntryPoints
from connections import urls as connections
from encounters import urls as encounters
from encounters.live import urls as live
from locations import urls as locations
from persons import urls as persons
from phones import urls as phones
from privacy import urls as privacy
from venue import urls as venue
from webhooks import urls as webhooks


def readiness_path(app: str) -> URLPattern:
    """The readiness path of one app; the proxy routes it to the process that serves the app."""
    return path(f"health/ready/{app}", health.Ready.as_view(), {"app": app}, name=f"health-ready-{app}")


# connections comes before persons: its paths start with /api/persons/, too.
APPS: dict[str, list[URLPattern | URLResolver]] = {
    "connections": [*connections.urlpatterns, readiness_path("connections")],
    # The persons process stores the tokens and erases people.
    "persons": [*persons.urlpatterns, *privacy.urlpatterns, *access.urlpatterns],
    "locations": [*locations.urlpatterns, *phones.urlpatterns, readiness_path("locations")],
    "venue": venue.urlpatterns,
    "encounters": [*encounters.urlpatterns, *webhooks.urlpatterns, readiness_path("encounters")],
    "live": [*live.urlpatterns, readiness_path("live")],
}
# The only API path with a trailing slash.
ENTRY: list[URLPattern | URLResolver] = [path("api/", EntryPoints.as_view(), name="entry-points")]
HEALTH: list[URLPattern | URLResolver] = [
    path("health", health.Live.as_view(), name="health"),
    path("health/live", health.Live.as_view(), name="health-live"),
    path("health/ready", health.Ready.as_view(), name="health-ready"),
]
urlpatterns = [pattern for patterns in APPS.values() for pattern in patterns] + ENTRY + HEALTH
