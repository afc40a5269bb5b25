"""Badges of people as a page to print: name, company, and a QR code that signs in to the app once."""

from datetime import UTC, date, datetime, time, timedelta

import segno
from django import forms
from django.contrib.admin import ModelAdmin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils import timezone

from access import services
from access.models import DEFAULT_DAYS, MAX_DAYS

MAX_BADGES = 1000  # at once: a QR code takes some milliseconds
MADE = "badges-made"  # the button that makes the codes


def tomorrow() -> date:
    return timezone.now().date() + timedelta(days=1)


def in_a_month() -> date:
    return timezone.now().date() + timedelta(days=DEFAULT_DAYS)


class BadgesForm(forms.Form):
    valid_until = forms.DateField(
        initial=in_a_month,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        help_text="The codes and the tokens that they give end after this day (UTC).",
    )

    def clean_valid_until(self) -> date:
        day: date = self.cleaned_data["valid_until"]
        if not tomorrow() <= day <= tomorrow() + timedelta(days=MAX_DAYS):
            raise ValidationError("Choose a day from tomorrow on, at most ten years ahead.")
        return day


def respond(model_admin: ModelAdmin, request: HttpRequest, person_ids: list[int]) -> TemplateResponse:
    """The form of this admin action, then the page with the badges, which is the only one with the codes."""
    form = BadgesForm(request.POST if MADE in request.POST else None)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Make badges",
        "opts": model_admin.opts,
        "media": model_admin.media,
        "form": form,
        "count": len(person_ids),
        "made": MADE,
        "selected": request.POST.getlist(ACTION_CHECKBOX_NAME),
        "select_across": request.POST.get("select_across", "0"),
        "action": request.POST.get("action", ""),
        "checkbox": ACTION_CHECKBOX_NAME,
    }
    request.current_app = model_admin.admin_site.name
    if form.is_valid() and len(person_ids) > MAX_BADGES:
        form.add_error(None, f"At most {MAX_BADGES:,} badges can be made at once. Select fewer people.")
    if form.is_valid():
        end = datetime.combine(form.cleaned_data["valid_until"], time.max, UTC)
        ranges = [(each, each) for each in person_ids]
        with transaction.atomic():  # no code is valid before the page that shows it is made
            links = services.make_links(ranges, expires=end, page="share")
            badges = [{"link": link, "qr": _qr(link.url)} for link in links]
        context |= {"badges": badges, "end": end}
        return TemplateResponse(request, "admin/access/badges.html", context)
    return TemplateResponse(request, "admin/access/make_badges.html", context)


def _qr(url: str) -> str:
    """An SVG as a data URL."""
    return segno.make(url, error="m").svg_data_uri(border=2, scale=8)
