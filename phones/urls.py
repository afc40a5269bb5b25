from django.urls import URLPattern, URLResolver, path

from phones import internal, views

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/phones/owntracks", views.OwnTracks.as_view(), name="phones-owntracks"),
    path("api/phones/overland", views.Overland.as_view(), name="phones-overland"),
    path("api/phones/osmand", views.OsmAnd.as_view(), name="phones-osmand"),
    path("api/phones/gpslogger", views.GpsLogger.as_view(), name="phones-gpslogger"),
]

# For other processes, not for clients: served with persons, whose database it uses.
internal_urlpatterns: list[URLPattern | URLResolver] = [
    path("internal/refused-points", internal.Refused.as_view(), name="internal-refused-points"),
]
