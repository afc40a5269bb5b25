from django.urls import URLPattern, URLResolver, path

from connections import views

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/persons/<int:person_id>/connection", views.Connections.as_view(), name="connection"),
    path("api/persons/<int:person_id>/encounters", views.Encounters.as_view(), name="encounters"),
]
