"""Webhooks in REST. The use case checks the address and the number of webhooks."""

from typing import Any

from drf_spectacular.drainage import set_override
from drf_spectacular.utils import extend_schema_serializer
from rest_framework import exceptions, serializers

from connect.web.rest import StrictSerializer, Text
from webhooks import limits
from webhooks.models import MAX_URL

_PERSON_ID = "Only encounters of this person. Null: of everybody."
_COMPANY = (
    "Only encounters of which at least one person is of this company, written exactly so. Null: of everybody."
)
_MIN_DURATION = (
    "Only encounters that lasted at least so many seconds. It applies to `encounter.ended`: the duration is "
    "unknown when an encounter starts. Null: all."
)
_EVENTS = "At least one of encounter.started and encounter.ended."


class _Url(Text):
    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        set_override(self, "field", {"type": "string", "format": "uri", "maxLength": self.max_length})


class _Events(serializers.ListField):
    child = serializers.ChoiceField(choices=limits.EVENTS)

    def to_internal_value(self, data: Any) -> list[str]:
        if not isinstance(data, list) or any(each not in limits.EVENTS for each in data):
            raise exceptions.ValidationError(f"Must be an array of {' and '.join(limits.EVENTS)}.")
        return super().to_internal_value(data)


class _Id(serializers.IntegerField):
    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return data


class _Seconds(serializers.FloatField):
    def to_internal_value(self, data: Any) -> float:
        if not isinstance(data, int | float) or isinstance(data, bool):
            self.fail("invalid")
        try:
            return float(data)
        except OverflowError:
            self.fail("invalid")


class NewWebhookSerializer(StrictSerializer):
    """A webhook to create."""

    url = _Url(
        max_length=MAX_URL,
        initial="https://example.org/connect",
        help_text="The address that gets the messages: https or http, visible ASCII, no user name.",
    )
    events = _Events(
        initial=list(limits.EVENTS), allow_empty=False, max_length=len(limits.EVENTS), help_text=_EVENTS
    )
    person_id = _Id(required=False, allow_null=True, min_value=1, max_value=2**63 - 1, help_text=_PERSON_ID)
    company = Text(required=False, allow_null=True, max_length=255, help_text=_COMPANY)
    min_duration = _Seconds(
        required=False,
        allow_null=True,
        min_value=0,
        max_value=limits.MAX_DURATION_S,
        help_text=_MIN_DURATION,
        source="min_duration_s",
    )


@extend_schema_serializer(component_name="Webhook")
class WebhookSerializer(serializers.Serializer):
    """A webhook."""

    id = serializers.IntegerField()
    url = serializers.CharField()
    events = serializers.ListField(child=serializers.ChoiceField(choices=limits.EVENTS))
    person_id = serializers.IntegerField(allow_null=True, help_text=_PERSON_ID)
    company = serializers.CharField(allow_null=True, help_text=_COMPANY)
    min_duration = serializers.FloatField(allow_null=True, help_text=_MIN_DURATION)
    created = serializers.DateTimeField()
    active = serializers.BooleanField(
        help_text="False after the receiver answered 410 Gone, or if staff switched it off."
    )


@extend_schema_serializer(component_name="CreatedWebhook")
class CreatedWebhookSerializer(WebhookSerializer):
    """A new webhook with its secret, which is shown only here."""

    secret = serializers.CharField(help_text="The key of the signatures, as Standard Webhooks writes it.")
