"""Rejected pings in the admin site, and the figures of the writers' lag and of rejected pings."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import Count, Max, Min, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from google.protobuf.message import DecodeError

from access import audit
from access.audit import MAX_IDS, People
from connect import dashboard
from connect.dashboard import Figure, Part
from connect.errors import NeighbourUnavailable
from consumers.batch_store import MAX_ROWS
from consumers.lag import Observer
from consumers.models import RejectedPing
from consumers.replay import Summary, replay
from grpc_server import locations_pb2 as pb
from locations.storage import MAX_ID

MAX_SHOWN_BYTES = 4096
LAG_TIMEOUT_S = 1.0
LAG_ALARM_S = 60
MAX_REASONS = 5


@admin.register(RejectedPing)
class RejectedPingAdmin(admin.ModelAdmin):
    list_display = ("id", "reason", "person_id", "sent_utc", "partition", "offset")
    list_filter = ("reason",)
    list_per_page = 100
    ordering = ("-id",)
    search_fields = ("person_id",)
    search_help_text = "Search by person id."
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions = ("replay_selected",)
    fields = (
        "reason",
        "person_id",
        "key_text",
        "value_hex",
        "decoded",
        "partition",
        "offset",
        "sent_utc",
        "rejected_at_utc",
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
        audit.set_people(request, _people_of(queryset))
        *_, summary = (Summary(), *replay(queryset))
        level = messages.SUCCESS if summary.recorded else messages.WARNING
        self.message_user(request, f"Recorded again: {summary}.", level)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return super().changelist_view(request, {"title": "Rejected pings", **(extra_context or {})})

    def get_object(self, request: HttpRequest, *args: Any, **kwargs: Any) -> RejectedPing | None:
        found = super().get_object(request, *args, **kwargs)
        if found is not None and found.person_id:
            audit.set_people(request, [found.person_id])
        return found

    # --- figures on the front page

    def figures(self) -> Iterator[Figure]:
        yield unwritten_figure()
        yield rejected_figure()

    # --- columns and fields

    @admin.display(description="Sent (UTC)", ordering="sent_ms")
    def sent_utc(self, rejected: RejectedPing) -> str:
        return f"{rejected.sent:%Y-%m-%d %H:%M:%S}" if rejected.sent else f"{rejected.sent_ms} ms"

    @admin.display(description="Rejected (UTC)", ordering="rejected_at")
    def rejected_at_utc(self, rejected: RejectedPing) -> str:
        return f"{rejected.rejected_at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="Key")
    def key_text(self, rejected: RejectedPing) -> str:
        return "-" if rejected.key is None else repr(bytes(rejected.key[:MAX_SHOWN_BYTES]))[2:-1]

    @admin.display(description="Value, in hexadecimal")
    def value_hex(self, rejected: RejectedPing) -> str:
        if rejected.value is None:
            return "-"
        value = bytes(rejected.value)
        more = f" … ({len(value):,} bytes)" if len(value) > MAX_SHOWN_BYTES else ""
        return value[:MAX_SHOWN_BYTES].hex(" ") + more

    @admin.display(description="Decoded as a location")
    def decoded(self, rejected: RejectedPing) -> SafeString | str:
        try:
            location = pb.Location.FromString(bytes(rejected.value or b""))
        except DecodeError:
            return "Not a location."
        return format_html("<pre>{}</pre>", str(location) or "An empty message.")

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, ...]:
        """Shows a count instead of the objects, because there may be many."""
        count = objs.count() if isinstance(objs, QuerySet) else len(objs)
        audit.set_people(
            request,
            _people_of(objs) if isinstance(objs, QuerySet) else [each.person_id or 0 for each in objs],
        )
        lacking = set() if self.has_delete_permission(request) else {self.opts.verbose_name}
        return [f"{count:,} rejected pings"], {self.opts.verbose_name_plural: count}, lacking, []


def _people_of(rejected: QuerySet[RejectedPing]) -> People:
    """The people whom the audit log names for a bulk action: ids, or count and range if there are many."""
    known = rejected.filter(person_id__gt=0).order_by()
    ids: list[Any] = list(known.values_list("person_id", flat=True).distinct()[: MAX_IDS + 1])
    if len(ids) <= MAX_IDS:
        return People.of(ids)
    span = known.aggregate(
        count=Count("person_id", distinct=True), first=Min("person_id"), last=Max("person_id")
    )
    return People(**span)


def unwritten_figure() -> Figure:
    """Pings that are in the topic and not yet in the database."""
    key, label = "unwritten", "Not yet stored"
    if not settings.PINGS_URL.startswith("kafka:"):
        return Figure(key, label, note="Pings are stored directly, without a topic.")
    try:
        with closing(Observer(within_s=LAG_TIMEOUT_S)) as observer:
            lag = observer.look()
    except NeighbourUnavailable:
        note = "Broker out of reach: the number of waiting pings is unknown."
        return Figure(key, label, note=note, is_alarm=True)
    if lag.oldest_s is None:
        note = "pings wait in the topic." if lag.unwritten else "All pings of the topic are stored."
    else:
        since = dashboard.format_duration(lag.oldest_s)
        note = f"pings wait in the topic; the oldest was sent {since} ago."
    return Figure(key, label, f"{lag.unwritten:,}", note, is_alarm=(lag.oldest_s or 0) > LAG_ALARM_S)


# The index of the primary key gives the newest rows, whatever the size of the table.
_REASONS = """
SELECT reason, count(*), sum(count(*)) OVER ()
  FROM (SELECT reason FROM rejected_pings ORDER BY id DESC LIMIT %s) AS newest
 GROUP BY reason ORDER BY count(*) DESC, reason LIMIT %s
"""


def rejected_figure() -> Figure:
    """The number of rejected pings by reason, with links to them."""
    key, label, url = "rejected", "Rejected pings", reverse("admin:consumers_rejectedping_changelist")
    with dashboard.bounded_cursor() as cursor:
        size = dashboard.size(cursor, "rejected_pings")
        cursor.execute(_REASONS, [dashboard.EXACT_COUNT_LIMIT, MAX_REASONS])
        found = cursor.fetchall()
    if not found:
        return Figure(key, label, "0", "No ping is rejected.", url)
    parts = [Part(reason, count, f"{url}?{urlencode({'reason': reason})}") for reason, count, _ in found]
    notes = ["Follow a reason to see its pings and to record them again."]
    if sum(part.number for part in parts) < found[0][2]:
        notes.append("There are more reasons.")
    if not size.is_exact:
        notes.append(f"Only the newest {dashboard.EXACT_COUNT_LIMIT:,} are counted.")
    if size.rows >= MAX_ROWS:
        notes.append(
            "The table is full: the writer only logs further pings. Record some again or delete them."
        )
    return Figure(key, label, str(size), " ".join(notes), url, parts, is_alarm=True)
