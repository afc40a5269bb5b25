from django.urls import URLPattern, URLResolver, path

from access import internal, second_factor, views

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/caller", views.WhoAmI.as_view(), name="caller"),
    path("api/caller/exchange", views.Exchange.as_view(), name="exchange"),
]

# Outside the admin site, because the site opens only after this page.
admin_urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/second-factor/", second_factor.SecondFactor.as_view(), name="second-factor"),
]

# For other processes, not for clients: served with persons, and only if SERVED_APPS contains `internal`.
internal_urlpatterns: list[URLPattern | URLResolver] = [
    path("internal/callers", internal.Callers.as_view(), name="internal-callers"),
    path("internal/token-changes", internal.TokenChanges.as_view(), name="internal-token-changes"),
    path("internal/questions", internal.Questions.as_view(), name="internal-questions"),
]
