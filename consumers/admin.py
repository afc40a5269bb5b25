"""Rejected pings in the admin site: to be looked at, and to be recorded again."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from google.protobuf.message import DecodeError

from connect.wire import format_time
from consumers.models import RejectedPing
from consumers.replay import Summary, replay
from grpc_server import locations_pb2 as pb
from locations.services import MAX_ID

MAX_SHOWN = 4096  # bytes of a value


@admin.register(RejectedPing)
class RejectedPingAdmin(admin.ModelAdmin):
    list_display = ("id", "reason", "person_id", "shown_sent", "rejected_at", "partition", "offset")
    list_filter = ("reason",)
    list_per_page = 100
    ordering = ("-id",)
    search_fields = ("person_id",)
    search_help_text = "The id of a person."
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions = ("replay_selected",)
    fields = (
        "reason",
        "person_id",
        "shown_key",
        "shown_value",
        "decoded",
        "partition",
        "offset",
        "shown_sent",
        "rejected_at",
    )
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: RejectedPing | None = None) -> bool:
        return False

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("consumers.change_rejectedping")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[RejectedPing], search_term: str
    ) -> tuple[QuerySet[RejectedPing], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        digits = term.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) < 20 and abs(int(term)) <= MAX_ID):
            return queryset.none(), False
        return queryset.filter(person_id=int(term)), False

    @admin.action(description="Record the selected pings again", permissions=["replay"])
    def replay_selected(self, request: HttpRequest, queryset: QuerySet[RejectedPing]) -> None:
        *_, summary = (Summary(), *replay(queryset))
        level = messages.SUCCESS if summary.recorded else messages.WARNING
        self.message_user(request, f"Recorded again: {summary}.", level)

    # --- what is shown

    @admin.display(description="Sent", ordering="sent_ms")
    def shown_sent(self, rejected: RejectedPing) -> str:
        return format_time(rejected.sent) if rejected.sent else f"{rejected.sent_ms} ms"

    @admin.display(description="Key")
    def shown_key(self, rejected: RejectedPing) -> str:
        return "-" if rejected.key is None else repr(bytes(rejected.key[:MAX_SHOWN]))[2:-1]

    @admin.display(description="Value, in hexadecimal")
    def shown_value(self, rejected: RejectedPing) -> str:
        if rejected.value is None:
            return "-"
        value = bytes(rejected.value)
        more = f" … ({len(value):,} bytes)" if len(value) > MAX_SHOWN else ""
        return value[:MAX_SHOWN].hex(" ") + more

    @admin.display(description="Read as a location")
    def decoded(self, rejected: RejectedPing) -> SafeString | str:
        try:
            location = pb.Location.FromString(bytes(rejected.value or b""))
        except DecodeError:
            return "It is none."
        return format_html("<pre>{}</pre>", str(location) or "Nothing is in it.")

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, ...]:
        """In numbers: there may be many."""
        count = objs.count() if isinstance(objs, QuerySet) else len(objs)
        lacking = set() if self.has_delete_permission(request) else {self.opts.verbose_name}
        return [f"{count:,} rejected pings"], {self.opts.verbose_name_plural: count}, lacking, []
