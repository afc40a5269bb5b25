"""Stored pings in the admin site, read-only: a list with keyset pagination, and a map for each ping.

No page counts, sorts or scans the table, so that pages are fast at hundreds of millions of rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from rest_framework.exceptions import ValidationError

from access import audit
from connect import dashboard, neighbours
from connect.dashboard import Figure
from connect.errors import NeighbourUnavailable
from connect.web.query_parameters import RangeBound
from locations import limits, storage
from locations.models import Location
from locations.pings import COLUMNS, FIELDS, Field, Ping, parse_id, parse_person_id
from locations.storage import MAX_ID

PAGE = 100
PERSONS_BATCH = 300  # ids per call of persons
QUESTIONS = ("connection", "encounters")

# The extent of the map around a ping. Distance and time are the defaults of /api/persons/{id}/encounters.
AROUND = timedelta(minutes=10)
MAX_TRACK = 600  # own pings on either side
MAX_OTHERS = 3000
MAX_ENCOUNTERS = 500

_INSTANT = timedelta(microseconds=1)


# --- queries -------------------------------------------------------------------------------------


def find(
    *,
    person_id: int | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    older: tuple[int, datetime] | None = None,
    newer: tuple[int, datetime] | None = None,
    limit: int,
) -> list[Ping]:
    """Matching locations, the newest first: the page before key `older`, after key `newer`, or the first."""
    conditions = ["true"]
    values: list[Any] = []

    def where(condition: str, *parameters: object) -> None:
        conditions.append(condition)
        values.extend(parameters)

    if person_id is not None:
        where("person_id = %s", person_id)
    if start is not None:
        where("creation_time >= %s", start)
    if end is not None:
        where("creation_time < %s", end)
    # The second condition is redundant, but lets the planner prune other months.
    if older is not None:
        where("(creation_time, person_id) < (%s, %s) AND creation_time <= %s", older[1], older[0], older[1])
    if newer is not None:
        where("(creation_time, person_id) > (%s, %s) AND creation_time >= %s", newer[1], newer[0], newer[1])
    direction = "ASC" if newer else "DESC"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {', '.join(COLUMNS)} FROM locations_location WHERE {' AND '.join(conditions)} "
            f"ORDER BY creation_time {direction}, person_id {direction} LIMIT %s",
            [*values, limit],
        )
        found = [Ping._make(row) for row in cursor.fetchall()]
    return found[::-1] if newer else found


def find_people(person_ids: set[int]) -> dict[int, Any]:
    """The known people by id. Some are missing while persons is unavailable; pages then show their ids."""
    known: dict[int, Any] = {}
    ids = sorted(person_ids)
    try:
        for first in range(0, len(ids), PERSONS_BATCH):
            known |= neighbours.persons().get_many(ids[first : first + PERSONS_BATCH])
    except NeighbourUnavailable:
        pass
    return known


# --- rows and forms of the pages -----------------------------------------------------------------


# The fields of a ping that have a column of their own; the others are in `Row.others`, in this order.
_OTHERS = {name: field for name, field in FIELDS.items() if name not in ("person_id", "creation_time")}


class Row(NamedTuple):
    id: str
    person_id: int
    person: str
    time: str
    others: list[tuple[str, str]]  # label and text; an unknown value has none


class EncounterRow(NamedTuple):
    person_id: int
    person: str
    distance_m: float
    start: str
    duration_s: float


def to_rows(found: Sequence[Ping], known: Mapping[int, Any]) -> list[Row]:
    return [
        Row(
            ping.id,
            ping.person_id,
            full_name(ping.person_id, known),
            format_moment(ping.creation_time),
            [(field.label, _text(field, getattr(ping, name))) for name, field in _OTHERS.items()],
        )
        for ping in found
    ]


def _text(field: Field, value: Any) -> str:
    return "" if value is None else str(field.format(value))


def full_name(person_id: int, known: Mapping[int, Any]) -> str:
    person = known.get(person_id)
    return f"{person.first_name} {person.last_name}" if person else f"person {person_id}"


def format_moment(moment: datetime) -> str:
    """UTC, with microseconds if there are any, in a form that the filter accepts."""
    return moment.replace(tzinfo=None).isoformat(sep=" ")


class MomentField(forms.CharField):
    """A bound of a range, parsed like that of the API. The admin's calendar fills in the day."""

    def __init__(self, *, is_end: bool, **kwargs: Any):
        super().__init__(required=False, max_length=40, **kwargs)
        self.bound = RangeBound(is_end=is_end)
        self.widget.attrs |= {"class": "vDateField", "placeholder": "2020-08-18 10:37"}

    def clean(self, value: Any) -> datetime | None:
        text = super().clean(value)
        try:
            return self.bound.to_internal_value(text) if text else None
        except ValidationError as fault:
            (reason,) = fault.detail
            raise forms.ValidationError(f"“{text}”: {reason}") from None


class KeyField(forms.CharField):
    """The key of the location before the page; only links set it."""

    widget = forms.HiddenInput

    def clean(self, value: Any) -> tuple[int, datetime] | None:
        text = super().clean(value)
        key = parse_id(text) if text else None
        if text and (key is None or key[0] > MAX_ID):
            raise forms.ValidationError("There is no such page. Press Show for the newest locations.")
        return key


class Filter(forms.Form):
    """The filter of the list."""

    person_id = forms.CharField(required=False, max_length=40, label="Person id")
    start = MomentField(is_end=False, label="From (UTC)")
    end = MomentField(is_end=True, label="To (UTC)")
    older = KeyField(required=False)
    newer = KeyField(required=False)

    class Media:
        css = {"all": ["admin/css/widgets.css"]}
        js = ["admin/js/core.js", "admin/js/calendar.js", "admin/js/admin/DateTimeShortcuts.js"]

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.fields["person_id"].widget.attrs |= {"inputmode": "numeric", "class": "vIntegerField"}

    def clean_person_id(self) -> int | None:
        text = self.cleaned_data["person_id"]
        if not text:
            return None
        try:
            person_id = parse_person_id(text)
        except ValueError:
            raise forms.ValidationError(f"“{text}” is not the id of a person: ids are integers.") from None
        if not 0 < person_id <= MAX_ID:
            raise forms.ValidationError(f"{person_id} is not the id of a person: ids go from 1 to {MAX_ID}.")
        return person_id

    def clean(self) -> None:
        start, end = self.cleaned_data.get("start"), self.cleaned_data.get("end")
        if start is not None and end is not None and start > end:
            self.add_error("start", "The start of the range must not be after its end.")


class LocationAdmin(admin.ModelAdmin):
    """Own pages, because Django's do not support composite keys, and count the rows that they list."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Location | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Location | None = None) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("", wrap(self.list_view), name="locations_location_changelist"),
            path("newest/<int:person_id>/<str:question>/", wrap(self.newest_view), name="locations_newest"),
            path("<str:location_id>/", wrap(self.detail_view), name="locations_location_change"),
        ]

    def list_view(self, request: HttpRequest) -> HttpResponse:
        form = Filter(request.GET)
        found: list[Ping] = []
        filters: dict[str, Any] = {}
        if self._check_permission(request) and form.is_valid():
            filters = form.cleaned_data
            if filters["person_id"]:
                audit.set_people(request, [filters["person_id"]])
            found = find(**filters, limit=PAGE + 1)
            if filters["newer"] and len(found) <= PAGE:
                # Nothing is newer than this page, so it is the first one: redirect to it, to show it full.
                query = request.GET.copy()
                del query["newer"]
                return HttpResponseRedirect(f"?{query.urlencode()}")
        more = len(found) > PAGE
        page = (found[1:] if filters.get("newer") else found[:PAGE]) if more else found
        person_id = filters.get("person_id")
        known = find_people({ping.person_id for ping in page} | ({person_id} if person_id else set()))
        context = {
            "title": "Locations",
            "form": form,
            "rows": to_rows(page, known),
            "labels": [field.label for field in _OTHERS.values()],
            "filtered": any(filters.get(key) for key in ("person_id", "start", "end")),
            "person": known.get(person_id or 0),
            "newer": bool(filters.get("newer") or filters.get("older")),
            "older": bool(filters.get("newer") or more),
        }
        return self._page(request, "list", context)

    def detail_view(self, request: HttpRequest, location_id: str) -> HttpResponse:
        key = self._check_permission(request) and parse_id(location_id)
        ping = storage.get(*key) if key else None
        if ping is None:
            raise Http404(f"No location {location_id} is stored.")
        own: dict[str, Any] = {"person_id": ping.person_id}
        identity = (ping.person_id, ping.creation_time)
        later = find(**own, newer=identity, end=ping.creation_time + AROUND, limit=MAX_TRACK)
        earlier = find(**own, older=identity, start=ping.creation_time - AROUND, limit=MAX_TRACK)
        track = [*later, ping, *earlier]
        near = {"distance_m": limits.DISTANCE_M, "within_s": limits.WITHIN_S}
        question: dict[str, Any] = {
            "start": track[-1].creation_time,
            "end": track[0].creation_time + _INSTANT,
            **near,
        }
        others = list(storage.connections(ping.person_id, **question, limit=MAX_OTHERS))
        encounters = sorted(
            storage.encounters(ping.person_id, **question, max_gap_s=limits.MAX_GAP_S, limit=MAX_ENCOUNTERS),
            key=lambda encounter: encounter.min_distance_m,
        )
        near_ids = {each.person_id for each in others} | {each.person_id for each in encounters}
        known = find_people(near_ids | {ping.person_id})
        context = {
            "title": f"{full_name(ping.person_id, known)} at {format_moment(ping.creation_time)} UTC",
            "row": to_rows([ping], known)[0],
            "person": known.get(ping.person_id),
            "day": ping.creation_time.date(),
            "newer": next((each.id for each in later[-1:] or find(**own, newer=identity, limit=1)), None),
            "older": next((each.id for each in earlier[:1] or find(**own, older=identity, limit=1)), None),
            "others_drawn": len(others) == MAX_OTHERS and MAX_OTHERS,
            "encounters": [
                EncounterRow(
                    each.person_id,
                    full_name(each.person_id, known),
                    each.min_distance_m,
                    format_moment(each.start),
                    each.duration_s,
                )
                for each in encounters
            ],
            "map": {
                "ping": location_id,
                "track": [_point(each) for each in track[::-1]],
                "others": _by_person(others, known),
                "url": reverse("admin:locations_location_change", args=["LOCATION"]),
            },
            **near,
            "around_min": int(AROUND.total_seconds() // 60),
        }
        return self._page(request, "detail", context)

    def newest_view(self, request: HttpRequest, person_id: int, question: str) -> HttpResponse:
        """Redirects to the API's answer about the newest day of a person."""
        if question not in QUESTIONS:
            raise Http404
        newest = self._check_permission(request) and person_id <= MAX_ID and storage.newest([person_id])
        if not newest:
            messages.info(request, f"Person {person_id} has no pings yet.")
            return redirect(f"{reverse('admin:locations_location_changelist')}?person_id={person_id}")
        day = newest[person_id].date()
        return redirect(f"/api/persons/{person_id}/{question}?start_date={day}&end_date={day}")

    def figures(self) -> Iterator[Figure]:
        now = datetime.now(UTC)
        with dashboard.bounded_cursor() as cursor:
            stored = dashboard.size(cursor, self.opts.db_table)
            newest = find(end=now, limit=1)
        url = reverse("admin:locations_location_changelist")
        yield Figure("locations", "Locations", str(stored), stored.note, url)
        for ping in newest:
            yield Figure(
                "newest",
                "Newest ping",
                f"{dashboard.format_duration((now - ping.creation_time).total_seconds())} ago",
                f"{format_moment(ping.creation_time.replace(microsecond=0))} UTC, by its sender's clock. "
                "Future times are ignored.",
                url=reverse("admin:locations_location_change", args=[ping.id]),
            )
        if not newest:
            yield Figure("newest", "Newest ping", note="There is no ping with a time before now.")
        yield Figure(
            "stored",
            "Stored per minute",
            note="Inserted rows, without repeats, from the database's statistics, which lag some seconds. "
            "Measured while this tab is open.",
            counter=stored.inserted,
        )

    def _check_permission(self, request: HttpRequest) -> bool:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return True

    def _page(self, request: HttpRequest, page: str, context: dict[str, Any]) -> TemplateResponse:
        request.current_app = self.admin_site.name
        shared = {**self.admin_site.each_context(request), "opts": self.opts}
        return TemplateResponse(request, f"admin/locations/location/{page}.html", shared | context)


def _point(ping: Ping) -> list[Any]:
    return [ping.latitude, ping.longitude, format_moment(ping.creation_time), ping.id]


def _by_person(found: Sequence[Ping], known: Mapping[int, Any]) -> list[dict[str, Any]]:
    points: dict[int, list[Any]] = {}
    for ping in found:
        points.setdefault(ping.person_id, []).append(_point(ping))
    return [{"person": full_name(person_id, known), "points": each} for person_id, each in points.items()]


# register() refuses models with a composite key, because Django's own pages do not support them. The registry
# gives the model its place on the front page, its URLs and its permissions.
admin.site._registry[Location] = LocationAdmin(Location, admin.site)  # noqa: SLF001
