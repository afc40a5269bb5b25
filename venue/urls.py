from django.urls import URLPattern, URLResolver, path

from venue import views

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/event", views.Event.as_view(), name="event"),
    path("api/zones", views.Zones.as_view(), name="zones"),
    path("api/zones/visits", views.Visits.as_view(), name="visits"),
]
