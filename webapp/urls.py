from django.urls import URLPattern, URLResolver, path

from webapp import views

urlpatterns: list[URLPattern | URLResolver] = [
    path("", views.page, name="people"),
    path("people/<int:person_id>", views.page, name="person"),
    path("crowd", views.page, name="crowd"),
    path("status", views.page, name="status"),
    path("share", views.page, name="share"),
]
