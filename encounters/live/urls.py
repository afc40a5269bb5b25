from django.urls import URLPattern, URLResolver, path

from encounters.live import views

urlpatterns: list[URLPattern | URLResolver] = [path("api/live", views.Live.as_view(), name="live")]
