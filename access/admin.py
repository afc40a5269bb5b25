"""Tokens, sign-in links and the audit log in the admin site."""

from copy import deepcopy
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django_otp.plugins.otp_totp.models import TOTPDevice
from rest_framework_api_key.models import APIKey

from access import services
from access.audit import MAX_IDS
from access.callers import Kind
from access.models import DEFAULT_DAYS, MAX_DAYS, NEVER, Question, SignInCode, Token
from access.services import make_link
from connect import neighbours

# The library's own model is not used. Keys made on its page would not work.
admin.site.unregister(APIKey)
admin.site.unregister(TOTPDevice)  # its pages show the secret keys

# The owner of each kind of token, and what a caller with such a token may do.
DESCRIPTIONS = {
    Kind.PERSON: ("A person", "reads the person’s own data: their day, the people they met, and where"),
    Kind.INGEST: ("Devices", "sends pings, of one person or of the people of an event, and reads nothing"),
    Kind.STAFF: ("Staff", "reads and changes everything, with the rights of the user"),
    Kind.SERVICE: ("Connect itself", "calls the internal paths, as a process of Connect does"),
}


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("usable", "usable"), ("expired", "expired"), ("revoked", "revoked")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Token]) -> QuerySet[Token]:
        now = timezone.now()
        match self.value():
            case "usable":
                return queryset.filter(revoked=False, expiry_date__gte=now)
            case "expired":
                return queryset.filter(revoked=False, expiry_date__lt=now)
            case "revoked":
                return queryset.filter(revoked=True)
        return queryset


def _for_kinds(*kinds: Kind) -> dict[str, str]:
    """Tells the page's script for which kinds of token to show the field."""
    return {"data-kinds": " ".join(kinds)}


class TokenForm(forms.ModelForm):
    kind = forms.ChoiceField(
        label="For",
        choices=[(kind, ": ".join(words)) for kind, words in DESCRIPTIONS.items()],
        initial=Kind.PERSON,
        widget=forms.RadioSelect(attrs={"class": "radiolist"}),
    )
    name = forms.CharField(
        required=False, max_length=50, help_text="Its name in the list. Empty: the name of its owner."
    )
    days = forms.IntegerField(
        label="Days",
        min_value=1,
        max_value=MAX_DAYS,
        initial=DEFAULT_DAYS,
        help_text="The token expires after this many days.",
    )

    class Meta:
        model = Token
        fields = ("kind", "first_person_id", "last_person_id", "user", "name")
        widgets = {
            "first_person_id": forms.NumberInput(attrs=_for_kinds(Kind.PERSON, Kind.INGEST)),
            "last_person_id": forms.NumberInput(attrs=_for_kinds(Kind.INGEST)),
            "user": forms.Select(attrs=_for_kinds(Kind.STAFF)),
        }

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        kind, first, last = (given.get(each) for each in ("kind", "first_person_id", "last_person_id"))
        owner = given.get("user") or "-".join(str(each) for each in (first, last) if each)
        if kind == Kind.PERSON and first:
            person = neighbours.persons().get_many([first]).get(first)
            if person is None:
                self.instance.first_person_id = first  # else the model would also report a missing person
                self.add_error("first_person_id", f"There is no person {first}.")
            else:
                owner = f"{person.first_name} {person.last_name}"
        given["name"] = (given.get("name") or str(owner) or "a process")[:50]
        if days := given.get("days"):
            self.instance.expiry_date = timezone.now() + timedelta(days=days)
        return given


@admin.register(Token)
class TokenAdmin(admin.ModelAdmin):
    """A token can be made and revoked, but not changed."""

    list_display = ("name", "state_label", "used", "kind_name", "owner", "expires", "prefix")
    list_filter = (StateFilter, "kind")
    search_fields = ("name", "prefix", "=first_person_id")
    search_help_text = "Parts of the name or of the prefix; or a person's id."
    actions = ("revoke",)
    list_per_page = 100
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    class Media:
        js = [forms.Script("access/admin.js", defer=True)]

    @admin.display(description="Kind", ordering="kind")
    def kind_name(self, token: Token) -> str:
        return token.kind

    @admin.display(description="Owner")
    def owner(self, token: Token) -> str:
        if token.people is None:
            return str(token.user or "–")
        first, last = token.people
        if first != last:
            return f"persons {first} to {last}"
        return format_html(
            '<a href="{}">person {}</a>', reverse("admin:persons_person_change", args=[first]), first
        )

    @admin.display(description="State")
    def state_label(self, token: Token) -> SafeString:
        return format_html('<span class="state {0}">{0}</span>', token.state)

    @admin.display(description="Last used", ordering="last_used")
    def used(self, token: Token) -> str:
        return date_format(token.last_used) if token.last_used else "never"

    @admin.display(description="Expires", ordering="expiry_date")
    def expires(self, token: Token) -> str:
        return "while configured" if token.expiry_date == NEVER else date_format(token.expiry_date.date())

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "Tokens", **(extra_context or {})})

    def get_form(self, request: HttpRequest, obj: Token | None = None, *args: Any, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, *args, **({} if obj else {"form": TokenForm}) | kwargs)
        if obj is None and not request.user.is_superuser:
            kinds: Any = deepcopy(form.base_fields["kind"])  # base_fields is shared by all forms
            kinds.choices = [(kind, label) for kind, label in kinds.choices if kind != Kind.SERVICE]
            form.base_fields["kind"] = kinds
        return form

    def get_fields(self, request: HttpRequest, obj: Token | None = None) -> Any:
        if obj is None:
            return (*TokenForm.Meta.fields, "days")
        return ("kind_name", "owner", "state_label", "used", "created", "expires", "prefix")

    def get_readonly_fields(self, request: HttpRequest, obj: Token | None = None) -> Any:
        return () if obj is None else self.get_fields(request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return services.may_make_tokens(request.user)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "user" and not request.user.is_superuser:
            kwargs["queryset"] = get_user_model().objects.filter(username=request.user.get_username())
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def has_delete_permission(self, request: HttpRequest, obj: Token | None = None) -> bool:
        return False  # tokens stay listed; those of a person are deleted with the person

    # --- making

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        return super().add_view(request, form_url, {"title": "Make a token", **(extra_context or {})})

    def save_model(self, request: HttpRequest, obj: Token, form: Any, change: bool) -> None:  # noqa: FBT001
        if not change:
            obj.key = Token.objects.assign_key(obj)
            obj.save()
            if obj.kind == Kind.PERSON and obj.first_person_id is not None:
                obj.link = make_link(
                    obj.first_person_id, name=obj.name, expires=obj.expiry_date, made_with=obj
                )

    def response_add(self, request: HttpRequest, obj: Token, post_url_continue: Any = None) -> HttpResponse:
        """The only page that shows the token. It does not redirect, because the key is not stored."""
        another = f"{reverse('admin:access_token_add')}?kind={obj.kind}"
        context = {
            **self.admin_site.each_context(request),
            "title": f"A token for {obj.name}",
            "opts": self.opts,
            "media": self.media,
            "token": obj,
            "key": obj.key,
            "may": DESCRIPTIONS[Kind(obj.kind)][1],
            "link": obj.link,
            "another": another,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/access/token/made.html", context)

    # --- revoking

    @admin.action(description="Revoke the selected tokens", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Token]) -> None:
        tokens = list(queryset.filter(revoked=False))
        for token in tokens:
            self.log_change(request, token, "Revoked.")
        Token.objects.filter(pk__in=[token.pk for token in tokens]).update(revoked=True)
        messages.success(request, f"{len(tokens)} revoked. A revoked token stops working within a second.")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        if request.method == "POST" and "_revoke" in request.POST:
            token = self.get_object(request, unquote(object_id))
            if token is None or not self.has_change_permission(request, token):
                raise PermissionDenied
            self.revoke(request, Token.objects.filter(pk=token.pk))
            return redirect("admin:access_token_changelist")
        return super().change_view(request, object_id, form_url, {"title": "Token", **(extra_context or {})})


@admin.register(SignInCode)
class SignInCodeAdmin(admin.ModelAdmin):
    """Sign-in links can be revoked. They are made with a person's token, or by `manage.py tokens link`."""

    list_display = ("name", "state_label", "owner", "created", "expiry_date", "used_at", "prefix")
    list_display_links = None
    list_select_related = ("made_with",)
    search_fields = ("name", "prefix", "=person_id")
    search_help_text = "Parts of the name or of the prefix; or a person's id."
    actions = ("revoke",)
    list_per_page = 100
    show_full_result_count = False

    @admin.display(description="Owner", ordering="person_id")
    def owner(self, code: SignInCode) -> str:
        return format_html(
            '<a href="{}">person {}</a>',
            reverse("admin:persons_person_change", args=[code.person_id]),
            code.person_id,
        )

    @admin.display(description="State")
    def state_label(self, code: SignInCode) -> SafeString:
        return format_html('<span class="state {0}">{0}</span>', code.state)

    @admin.action(description="Revoke the selected sign-in links", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[SignInCode]) -> None:
        codes = list(queryset.filter(revoked=False, used_at=None))
        for code in codes:
            self.log_change(request, code, "Revoked.")
        SignInCode.objects.filter(pk__in=[code.pk for code in codes]).update(revoked=True)
        links = "1 sign-in link" if len(codes) == 1 else f"{len(codes)} sign-in links"
        messages.success(request, f"{links} revoked. To end the access of a used link, revoke its token.")

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("access.change_signincode")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: SignInCode | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: SignInCode | None = None) -> bool:
        return False


@admin.register(Question)
class QuestionAdmin(admin.ModelAdmin):
    """The audit log, read-only."""

    list_display = ("at", "caller", "kind", "what", "about", "range", "outcome")
    list_display_links = None
    list_filter = ("kind",)
    search_fields = ("caller",)
    search_help_text = "A person's id; or parts of a user's name or of a token's prefix."
    list_per_page = 100
    show_full_result_count = False

    @admin.display(description="About", ordering="person_id")
    def about(self, question: Question) -> str:
        if question.person_id is not None:
            return f"person {question.person_id}"
        if question.people is None:
            return "–"
        if question.people > MAX_IDS:
            first, last = question.first_person_id or "?", question.last_person_id or "?"
            return f"{question.people:,} people, {first} to {last}"
        return "everybody" if question.people == 0 else "an unknown or erased person"

    @admin.display(description="From, to (UTC)", ordering="range_start")
    def range(self, question: Question) -> str:
        bounds = (question.range_start, question.range_end)
        return (
            " to ".join(f"{bound:%Y-%m-%d %H:%M:%S}" if bound else "…" for bound in bounds)
            if any(bounds)
            else "–"
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Question], search_term: str
    ) -> tuple[QuerySet[Question], bool]:
        found, duplicates = super().get_search_results(request, queryset, search_term)
        term = search_term.strip()
        if term.isascii() and term.isdigit() and len(term) < 19:
            found |= queryset.filter(services.may_be_about(int(term)))
        return found, duplicates

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Question | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Question | None = None) -> bool:
        return False
