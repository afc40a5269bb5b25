"""Rejected pings in the admin site: to be looked at, recorded again; and how far the writers are."""

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

MAX_SHOWN = 4096  # bytes of a value
BROKERS_S = 1.0  # that the brokers may take to say how far the writers are
LATE_S = 60  # that a ping waits for its writer before it is an alarm
REASONS = 5


@admin.register(RejectedPing)
class RejectedPingAdmin(admin.ModelAdmin):
    list_display = ("id", "reason", "person_id", "shown_sent", "partition", "offset")
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
        "shown_rejected_at",
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
        audit.set_people(request, _people(queryset))
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

    # --- on the front page

    def figures(self) -> Iterator[Figure]:
        yield unwritten()
        yield rejected()

    # --- what is shown

    @admin.display(description="Sent (UTC)", ordering="sent_ms")
    def shown_sent(self, rejected: RejectedPing) -> str:
        return f"{rejected.sent:%Y-%m-%d %H:%M:%S}" if rejected.sent else f"{rejected.sent_ms} ms"

    @admin.display(description="Rejected (UTC)", ordering="rejected_at")
    def shown_rejected_at(self, rejected: RejectedPing) -> str:
        return f"{rejected.rejected_at:%Y-%m-%d %H:%M:%S}"

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
        audit.set_people(
            request, _people(objs) if isinstance(objs, QuerySet) else [each.person_id or 0 for each in objs]
        )
        lacking = set() if self.has_delete_permission(request) else {self.opts.verbose_name}
        return [f"{count:,} rejected pings"], {self.opts.verbose_name_plural: count}, lacking, []


def _people(rejected: QuerySet[RejectedPing]) -> People:
    """Whom the audit log names for a bulk action."""
    known = rejected.filter(person_id__gt=0).order_by()
    ids: list[Any] = list(known.values_list("person_id", flat=True).distinct()[: MAX_IDS + 1])
    if len(ids) <= MAX_IDS:
        return People.of(ids)
    span = known.aggregate(
        count=Count("person_id", distinct=True), first=Min("person_id"), last=Max("person_id")
    )
    return People(**span)


def unwritten() -> Figure:
    """What is in the topic and not yet in the database."""
    key, label = "unwritten", "On their way"
    if not settings.PINGS_URL.startswith("kafka:"):
        return Figure(key, label, note="There is no topic here: a ping that is taken is stored.")
    try:
        with closing(Observer(within_s=BROKERS_S)) as observer:
            standing = observer.look()
    except NeighbourUnavailable:
        note = "Broker out of reach: how many pings wait in the topic, nobody can say."
        return Figure(key, label, note=note, is_alarm=True)
    if standing.oldest_s is None:
        note = "in the topic, and not yet written." if standing.unwritten else "in the topic: all is written."
    else:
        since = dashboard.format_duration(standing.oldest_s)
        note = f"in the topic, and not yet written, the oldest sent {since} ago."
    return Figure(key, label, f"{standing.unwritten:,}", note, is_alarm=(standing.oldest_s or 0) > LATE_S)


# The key's index gives the newest, however many there are.
_REASONS = """
SELECT reason, count(*), sum(count(*)) OVER ()
  FROM (SELECT reason FROM rejected_pings ORDER BY id DESC LIMIT %s) AS newest
 GROUP BY reason ORDER BY count(*) DESC, reason LIMIT %s
"""


def rejected() -> Figure:
    """How many, and why, with where they can be recorded again."""
    key, label, url = "rejected", "Rejected pings", reverse("admin:consumers_rejectedping_changelist")
    with dashboard.bounded_cursor() as cursor:
        size = dashboard.size(cursor, "rejected_pings")
        cursor.execute(_REASONS, [dashboard.EXACT_COUNT_LIMIT, REASONS])
        found = cursor.fetchall()
    if not found:
        return Figure(key, label, "0", "Nothing had to be set aside.", url)
    parts = [Part(reason, count, f"{url}?{urlencode({'reason': reason})}") for reason, count, _ in found]
    notes = ["A reason leads to its pings, which can be recorded again."]
    if sum(part.number for part in parts) < found[0][2]:
        notes.append("There are more reasons.")
    if not size.is_exact:
        notes.append(f"Counted are those of the newest {dashboard.EXACT_COUNT_LIMIT:,}.")
    if size.rows >= MAX_ROWS:
        notes.append(
            "The table is full: more are only logged by the writer. Record them again or delete them."
        )
    return Figure(key, label, str(size), " ".join(notes), url, parts, is_alarm=True)
