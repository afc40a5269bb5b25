from django.urls import URLPattern, URLResolver, path

from webapp import views

urlpatterns: list[URLPattern | URLResolver] = [path("", views.home, name="home")]
