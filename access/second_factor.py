"""The second factor of staff: the TOTP code of an authenticator app, if STAFF_SECOND_FACTOR is set.

Staff enrol an app once. At each login they enter the password and then the app's code. Before that no page of
the admin site opens, and the API does not accept the session.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import django_otp
import segno
from django import forms
from django.conf import settings
from django.contrib import admin
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme
from django.views import View
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django_otp.models import Device
from django_otp.plugins.otp_totp.models import TOTPDevice

OPEN_PAGES = ("login", "logout", "jsi18n")  # of the admin site; they need no code


class Required:
    """Redirects staff without a verified code from the admin site to the code form."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *_: Any) -> HttpResponse | None:
        match = request.resolver_match
        if not settings.STAFF_SECOND_FACTOR or match is None or match.app_name != "admin":
            return None
        user: Any = request.user
        if match.url_name in OPEN_PAGES or not user.is_authenticated or user.is_verified():
            return None
        return HttpResponseRedirect(
            f"{reverse('second-factor')}?{urlencode({'next': request.get_full_path()})}"
        )


def is_verified(session: Any, user: Any) -> bool:
    """Whether a session needs no code, or was verified with an app that is still enrolled."""
    if not settings.STAFF_SECOND_FACTOR:
        return True
    device_id = session.get(django_otp.DEVICE_ID_SESSION_KEY)
    device = Device.from_persistent_id(device_id) if device_id else None
    return device is not None and device.confirmed and device.user_id == user.pk


class CodeForm(forms.Form):
    code = forms.RegexField(
        r"^\s*[0-9]{3}\s?[0-9]{3}\s*$",
        label="Code",
        error_messages={"invalid": "Enter six digits."},
        widget=forms.TextInput(
            attrs={"autocomplete": "one-time-code", "inputmode": "numeric", "autofocus": True}
        ),
    )

    def clean_code(self) -> str:
        return "".join(self.cleaned_data["code"].split())


@method_decorator([never_cache, csrf_protect], name="dispatch")
class SecondFactor(View):
    """Enrols an app if the user has none, and verifies its code."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if not request.user.is_authenticated or not admin.site.has_permission(request):
            return HttpResponseRedirect(reverse("admin:login"))
        return super().dispatch(request, *args, **kwargs)

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._page(request, CodeForm())

    def post(self, request: HttpRequest) -> HttpResponse:
        form = CodeForm(request.POST)
        if form.is_valid():
            if device := self._verify(request, form.cleaned_data["code"]):
                request.session.cycle_key()
                django_otp.login(request, device)
                return HttpResponseRedirect(self._next(request))
            form.add_error(
                "code", "This code is not valid now. After several wrong codes, wait before you try again."
            )
        return self._page(request, form)

    def _device(self, request: HttpRequest) -> TOTPDevice:
        """The enrolled app, or else a new one to enrol."""
        devices = TOTPDevice.objects.filter(user=request.user)
        found = devices.filter(confirmed=True).first() or devices.filter(confirmed=False).first()
        return found or TOTPDevice.objects.create(user=request.user, name="app", confirmed=False)

    def _verify(self, request: HttpRequest, code: str) -> TOTPDevice | None:
        with transaction.atomic():
            device = TOTPDevice.objects.select_for_update().get(pk=self._device(request).pk)
            if not device.verify_is_allowed()[0] or not device.verify_token(code):
                return None
            if not device.confirmed:
                device.confirmed = True
                device.save(update_fields=["confirmed"])
            return device

    def _next(self, request: HttpRequest) -> str:
        target = request.GET.get("next", "")
        allowed = url_has_allowed_host_and_scheme(target, {request.get_host()}, request.is_secure())
        return target if allowed else reverse("admin:index")

    def _page(self, request: HttpRequest, form: CodeForm) -> HttpResponse:
        device = self._device(request)
        context = admin.site.each_context(request) | {"title": "Second factor", "form": form}
        if not device.confirmed:
            context |= {
                "qr": segno.make(device.config_url).svg_data_uri(scale=5, border=4, light="white"),
                "key": device.config_url.partition("secret=")[2].partition("&")[0],
            }
        return TemplateResponse(request, "admin/access/second_factor.html", context)
