"""Webhooks and their deliveries in the admin site. Given-up deliveries can be sent again."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from webhooks import storage
from webhooks.models import Delivery, State, Webhook


@admin.register(Webhook)
class WebhookAdmin(admin.ModelAdmin):
    """Staff create webhooks with the API, which shows the secret once; here they switch them off and on."""

    list_display = ("id", "url", "events", "person_id", "company", "min_duration_s", "active", "failures")
    list_display_links = ("id", "url")
    list_filter = ("active",)
    search_fields = ("url", "company")
    readonly_fields = (
        "url",
        "events",
        "person_id",
        "company",
        "min_duration_s",
        "created",
        "failures",
        "next_attempt",
    )
    fields = ("active", *readonly_fields)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Webhook, form: Any, change: bool) -> None:  # noqa: FBT001
        obj.save(update_fields=["active"])  # a delivery may have changed the other columns meanwhile

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, ...]:
        """Names the webhooks only, because there may be many deliveries."""
        lacking = set() if self.has_delete_permission(request) else {self.opts.verbose_name}
        return [str(each) for each in objs], {self.opts.verbose_name_plural: len(objs)}, lacking, []

    def delete_model(self, request: HttpRequest, obj: Webhook) -> None:
        storage.delete(obj.pk)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Webhook]) -> None:
        for webhook_id in queryset.values_list("id", flat=True):
            storage.delete(webhook_id)


@admin.register(Delivery)
class DeliveryAdmin(admin.ModelAdmin):
    list_display = (
        "id",
        "webhook",
        "event",
        "person_a_id",
        "person_b_id",
        "occurred",
        "state",
        "attempts",
        "last_status",
        "last_reason",
    )
    list_filter = ("state", "event", "webhook")
    list_select_related = ("webhook",)
    list_per_page = 100
    ordering = ("-id",)
    search_fields = ("message_id",)
    search_help_text = "The header webhook-id of a message."
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions = ("resend_selected",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Delivery | None = None) -> bool:
        return False

    def has_resend_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("webhooks.change_delivery")

    @admin.action(description="Send the selected deliveries again", permissions=["resend"])
    def resend_selected(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        chosen = queryset.count()
        sent = storage.resend(queryset)
        text = f"{sent:,} deliveries wait to be sent again, with the same ids."
        if sent < chosen:
            text += f" {chosen - sent:,} are not: only those that are {State.GIVEN_UP}, to active webhooks."
        self.message_user(request, text, messages.SUCCESS if sent == chosen else messages.WARNING)
