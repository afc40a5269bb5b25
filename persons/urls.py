from django.urls import URLPattern, URLResolver, path

from persons import views

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/persons", views.People.as_view(), name="people"),
    path("api/persons/<int:person_id>", views.OnePerson.as_view(), name="person"),
]
