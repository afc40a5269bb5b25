"""Tokens in the admin site: made, shown once, listed, revoked."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from rest_framework_api_key.models import APIKey

from access.models import Question, Token

# The library's own model is not used, so nobody should find it and make keys that open nothing.
admin.site.unregister(APIKey)


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


@admin.register(Token)
class TokenAdmin(admin.ModelAdmin):
    """A token is never changed, except that it is revoked."""

    list_display = ("prefix", "name", "kind", "of_whom", "state", "expiry_date", "last_used", "created")
    list_display_links = ("prefix", "name")
    list_filter = (StateFilter, "kind")
    search_fields = ("name", "prefix", "=first_person_id")
    search_help_text = "Parts of the name or of the prefix; or a person's id."
    actions = ("revoke",)
    fields = ("name", "kind", "first_person_id", "last_person_id", "user", "expiry_date")
    list_per_page = 100
    show_full_result_count = False

    @admin.display(description="Of")
    def of_whom(self, token: Token) -> str:
        if token.people is None:
            return str(token.user or "–")
        first, last = token.people
        return f"person {first}" if first == last else f"persons {first} to {last}"

    def get_fields(self, request: HttpRequest, obj: Token | None = None) -> Any:
        if obj is None:
            return self.fields
        return ("prefix", "name", "kind", "of_whom", "state", "created", "expiry_date", "last_used")

    def get_readonly_fields(self, request: HttpRequest, obj: Token | None = None) -> Any:
        return () if obj is None else self.get_fields(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Token | None = None) -> bool:
        return False  # what was once used stays listed; a person's go with the person

    def save_model(self, request: HttpRequest, obj: Token, form: Any, change: bool) -> None:  # noqa: FBT001
        if change:
            return
        shown = Token.objects.assign_key(obj)
        obj.save()
        text = format_html(
            'The token of “{}” is <code class="token">{}</code> Copy it now: it is not shown again.',
            obj.name,
            shown,
        )
        messages.warning(request, text)

    @admin.action(description="Revoke the selected tokens", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Token]) -> None:
        count = queryset.filter(revoked=False).update(revoked=True)
        messages.success(request, f"{count} revoked: whoever shows one is nobody.")


@admin.register(Question)
class QuestionAdmin(admin.ModelAdmin):
    """The audit log. Nobody adds to it by hand, and nobody takes away."""

    list_display = ("at", "caller", "kind", "what", "person_id")
    list_display_links = None
    list_filter = ("kind",)
    search_fields = ("=person_id", "caller")
    search_help_text = "A person's id; or parts of a user's name or of a token's prefix."
    list_per_page = 100
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Question | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Question | None = None) -> bool:
        return False
