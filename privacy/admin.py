"""Erasure receipts in the admin site, and the export of a person, linked from the person's page."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, StreamingHttpResponse
from django.urls import URLPattern, path

from connect.errors import NeighbourUnavailable
from locations.storage import MAX_ID
from privacy import archive, erasure
from privacy.models import ErasureReceipt

EXPORT_PERMISSIONS = (
    "persons.view_person",
    "locations.view_location",
    "consumers.view_rejectedping",
    "access.view_question",
    "access.view_token",
)
BROKER_TIMEOUT_S = 1.0  # for the offsets of the topic and its writers


@admin.register(ErasureReceipt)
class ErasureReceiptAdmin(admin.ModelAdmin):
    list_display = ("person_id", "erased_at_utc", "pings", "rejected_pings", "tokens", "is_complete")
    list_per_page = 100
    ordering = ("-id",)
    search_fields = ("person_id",)
    search_help_text = "The id of a person."
    show_full_result_count = False
    fields = (
        "person_id",
        "erased_at_utc",
        "pings",
        "rejected_pings",
        "tokens",
        "topic_ends",
        "passed_at",
        "is_complete",
    )
    readonly_fields = fields

    def get_urls(self) -> list[URLPattern]:
        export = self.admin_site.admin_view(self.export_view)
        return [path("export/<int:person_id>/", export, name="privacy_export"), *super().get_urls()]

    def export_view(self, request: HttpRequest, person_id: int) -> StreamingHttpResponse:
        if not request.user.has_perms(EXPORT_PERMISSIONS):
            raise PermissionDenied
        chunks = archive.stream(person_id)
        if chunks is None:
            raise Http404(f"There is no person {person_id}.")
        name = f'attachment; filename="person-{person_id}.zip"'
        headers = {"Content-Disposition": name}
        return StreamingHttpResponse(chunks, content_type="application/zip", headers=headers)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: ErasureReceipt | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ErasureReceipt | None = None) -> bool:
        return False

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        if not (term.isascii() and term.isdigit() and len(term) < 20 and int(term) <= MAX_ID):
            return queryset.none(), False
        return queryset.filter(person_id=int(term)), False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        try:
            erasure.update_receipts(within_s=BROKER_TIMEOUT_S)
        except NeighbourUnavailable:
            text = "The brokers are out of reach. It is unknown what is still in the topic."
            self.message_user(request, text, messages.WARNING)
        return super().changelist_view(request, {"title": "Erasure receipts", **(extra_context or {})})

    @admin.display(description="Erased (UTC)", ordering="erased_at")
    def erased_at_utc(self, receipt: ErasureReceipt) -> str:
        return f"{receipt.erased_at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="Nothing left in the topic", boolean=True)
    def is_complete(self, receipt: ErasureReceipt) -> bool:
        return erasure.is_complete(receipt)
