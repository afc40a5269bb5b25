from django.urls import URLPattern, URLResolver, path

from privacy import views

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/persons/<int:person_id>/export", views.Export.as_view(), name="export"),
    path("api/persons/<int:person_id>/erasure", views.Erasure.as_view(), name="erasure"),
    path("api/persons/<int:person_id>/questions", views.Questions.as_view(), name="questions"),
]
