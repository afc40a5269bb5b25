from django.urls import URLPattern, URLResolver, path

from locations import internal, presence_views, views

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/locations", views.Locations.as_view(), name="locations"),
    path("api/locations/<str:location_id>", views.OneLocation.as_view(), name="location"),
    path("api/days", presence_views.Days.as_view(), name="days"),
    path("api/positions", presence_views.Positions.as_view(), name="positions"),
    path("api/heat", presence_views.Heat.as_view(), name="heat"),
]

# For other processes, not for clients. Served only if SERVED_APPS says so.
internal_urlpatterns: list[URLPattern | URLResolver] = [
    path("internal/locations/<str:verb>", internal.Verb.as_view(), name="internal-locations"),
]
