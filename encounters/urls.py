from django.urls import URLPattern, URLResolver, path

from encounters import views

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/encounters", views.Encounters.as_view(), name="all-encounters"),
    path("api/encounters/summary", views.Summary.as_view(), name="encounters-summary"),
    path("api/encounters/graph", views.Graph.as_view(), name="encounters-graph"),
    path("api/encounters/cascade", views.Cascade.as_view(), name="encounters-cascade"),
]
