"""The event and its zones in the admin site. A zone is drawn on a map or written as GeoJSON."""

import json
from typing import Any
from urllib.parse import urlsplit

from csp.decorators import csp_update
from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.gis.geos import Polygon
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.decorators import method_decorator

from venue import geojson, storage
from venue.limits import MAX_TOTAL_POINTS, MAX_ZONES
from venue.models import Event, Zone

_TILES = urlsplit(settings.TILES_URL.replace("{s}", "*"))
_ALLOW_TILES = csp_update({"img-src": [f"{_TILES.scheme}://{_TILES.netloc}"]} if _TILES.netloc else {})


@admin.register(Event)
class EventAdmin(admin.ModelAdmin):
    list_display = ("name", "first_day", "last_day", "time_zone")

    def add_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """There is at most one event, so another cannot be added to it."""
        if event := Event.objects.first():
            return redirect("admin:venue_event_change", event.pk)
        return super().add_view(request, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Event, form: Any, change: bool) -> None:  # noqa: FBT001
        with storage.changed_by_organiser():
            super().save_model(request, obj, form, change)


class AreaField(forms.CharField):
    """A polygon as GeoJSON, as one geometry or as a feature with one."""

    widget = forms.Textarea(attrs={"rows": 6, "class": "vLargeTextField", "spellcheck": "false"})

    def prepare_value(self, value: Any) -> Any:
        return json.dumps(geojson.geometry(value)) if isinstance(value, Polygon) else value

    def clean(self, value: Any) -> Polygon:
        text = super().clean(value)
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            raise forms.ValidationError("This is no valid JSON.") from None
        try:
            return geojson.parse_geometry(data)
        except ValueError as fault:
            reason = str(fault)
            raise forms.ValidationError(f"{reason[0].upper()}{reason[1:]}.") from None

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)


class ZoneForm(forms.ModelForm):
    area = AreaField(
        label="Area as GeoJSON",
        help_text=(
            "A Polygon in degrees, longitude first. Draw it on the map below, or write it here: "
            "both show the same area."
        ),
    )

    class Meta:
        model = Zone
        fields = ("name", "kind", "company", "area")

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if self.instance.pk is None and Zone.objects.count() >= MAX_ZONES:
            raise forms.ValidationError(f"There are {MAX_ZONES:,} zones already; no more are allowed.")
        area = cleaned.get("area")
        if area and storage.points(without=self.instance.pk or 0) + area.num_points > MAX_TOTAL_POINTS:
            raise forms.ValidationError(f"All zones together may have at most {MAX_TOTAL_POINTS:,} points.")
        return cleaned


@method_decorator(_ALLOW_TILES, name="changeform_view")
@admin.register(Zone)
class ZoneAdmin(admin.ModelAdmin):
    form = ZoneForm
    list_display = ("id", "name", "kind", "company")
    list_display_links = ("id", "name")
    list_filter = ("kind",)
    list_per_page = MAX_ZONES
    search_fields = ("name", "company")

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        zone = context.get("original")
        others = [each for each in storage.zones() if zone is None or each.id != zone.pk]
        bounds = storage.event().bounds
        context["map"] = {
            "others": geojson.collection(others),
            "bounds": bounds,
            "tiles": settings.TILES_URL,
            "attribution": settings.TILES_ATTRIBUTION,
            "own": geojson.geometry(zone.area) if zone else None,
        }
        return super().render_change_form(request, context, *args, **kwargs)

    # Whatever an organiser changes, `simulate` keeps.

    def save_model(self, request: HttpRequest, obj: Zone, form: Any, change: bool) -> None:  # noqa: FBT001
        with storage.changed_by_organiser():
            if not change:
                obj.id = storage.new_id()
            super().save_model(request, obj, form, change)

    def delete_model(self, request: HttpRequest, obj: Zone) -> None:
        with storage.changed_by_organiser():
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Zone]) -> None:
        with storage.changed_by_organiser():
            super().delete_queryset(request, queryset)
