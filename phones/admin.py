"""Refused points of phones in the admin site, and their number today on its front page."""

from collections.abc import Iterator

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from connect import dashboard
from connect.dashboard import Figure
from phones.models import RefusedPoints

_TODAY = (
    "SELECT coalesce(sum(count), 0), count(DISTINCT person_id) FROM phones_refusedpoints WHERE last_at >= %s"
)


@admin.register(RefusedPoints)
class RefusedPointsAdmin(admin.ModelAdmin):
    list_display = ("day", "app", "person_id", "reason", "count", "last_at")
    list_filter = ("app", "reason", "day")
    list_per_page = 100
    search_fields = ("person_id",)
    search_help_text = "Search by person id."
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_display_links = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: RefusedPoints | None = None) -> bool:
        return False

    def figures(self) -> Iterator[Figure]:
        today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
        with dashboard.bounded_cursor() as cursor:
            cursor.execute(_TODAY, [today])
            points, phones = cursor.fetchone()
        note = f"from the phones of {phones} people." if points else "All points of phones were accepted."
        url = reverse("admin:phones_refusedpoints_changelist")
        yield Figure(
            "refused-points", "Refused points today (UTC)", f"{points:,}", note, url, is_alarm=bool(points)
        )
