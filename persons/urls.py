from django.urls import URLPattern, URLResolver, path

from persons import internal, views

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/persons", views.People.as_view(), name="people"),
    path("api/persons/<int:person_id>", views.OnePerson.as_view(), name="person"),
    path("api/persons/<int:person_id>/consent", views.Consent.as_view(), name="consent"),
]

# For other processes, not for clients: served only if SERVED_APPS contains `internal`.
internal_urlpatterns: list[URLPattern | URLResolver] = [
    path("internal/persons", internal.People.as_view(), name="internal-persons"),
]
