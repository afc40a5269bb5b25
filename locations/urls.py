from django.urls import URLPattern, URLResolver, path

from locations import views

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/locations", views.Locations.as_view(), name="locations"),
    path("api/locations/<str:location_id>", views.OneLocation.as_view(), name="location"),
]
