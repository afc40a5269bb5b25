from django.urls import URLPattern, URLResolver, path

from webapp import views

urlpatterns: list[URLPattern | URLResolver] = [
    path("", views.page, name="overview"),
    *(path(f"day/{name}", views.page) for name in ("people", "encounters", "pairs", "zones")),
    path("people", views.page, name="people"),
    path("people/<int:person_id>", views.page, name="person"),
    path("crowd", views.page, name="crowd"),
    path("status", views.page, name="status"),
    path("share", views.page, name="share"),
    path("share.webmanifest", views.manifest, name="manifest"),
    path("sw.js", views.service_worker, name="service-worker"),
]
