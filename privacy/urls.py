from django.urls import URLPattern, URLResolver, path

from privacy import views

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/persons/<int:person_id>/export", views.Export.as_view(), name="export"),
]
