"""What the schema says of errors, the same in every app. The shapes are DRF's own."""

from drf_spectacular.utils import OpenApiExample, OpenApiResponse
from rest_framework import serializers


class Detail(serializers.Serializer):
    detail = serializers.CharField(help_text="What is wrong.")


BAD, MISSING, UNAVAILABLE = 400, 404, 503

_FAULTS_SCHEMA = {
    "type": "object",
    "description": "By field or parameter, what is wrong and what is allowed; or `detail`.",
    "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
}

_RESPONSES = {
    BAD: OpenApiResponse(
        _FAULTS_SCHEMA,
        description="Something in the call is wrong; it says what, and what is allowed.",
        examples=[OpenApiExample("faults", value={"limit": ["A valid integer is required."]})],
    ),
    MISSING: OpenApiResponse(
        Detail,
        description="There is no such person or location.",
        examples=[OpenApiExample("nobody", value={"detail": "There is no person 999."})],
    ),
    406: OpenApiResponse(Detail, description="None of the formats asked for can be had."),
    413: OpenApiResponse(Detail, description="The body has over 5 MB, or the array over 10,000 items."),
    415: OpenApiResponse(Detail, description="The body is not application/json."),
    UNAVAILABLE: OpenApiResponse(
        Detail,
        description="What the call needs is out of reach. Sending it again after `Retry-After` s is safe.",
    ),
}


def errors(*codes: int, body: bool = False) -> dict[int, OpenApiResponse]:
    """The answers of an operation that are not its result; `body` for one that takes a body."""
    both = {*codes, 406, *((413, 415) if body else ())}
    return {code: _RESPONSES[code] for code in sorted(both)}
