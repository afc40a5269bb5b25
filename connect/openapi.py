"""What the schema says of all apps alike: errors in DRF's own shapes, paths, pages, what is refused."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse
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


PERSON_ID = OpenApiParameter("person_id", int, OpenApiParameter.PATH, description="The id of a person.")
LOCATION_ID = OpenApiParameter(
    "location_id",
    str,
    OpenApiParameter.PATH,
    description="The person and the time in microseconds since 1970, such as 5-1597747026000000.",
)
NEXT_PAGE = OpenApiParameter(
    "Link",
    str,
    OpenApiParameter.HEADER,
    description='`</api/…>; rel="next"`: the next page, a path. Absent on the last one and without `limit`.',
    response=[200],
)
PLACE = OpenApiParameter(
    "Location",
    str,
    OpenApiParameter.HEADER,
    description="The path of what was made; none for an array.",
    response=[201, 202],
)


def errors(*codes: int, body: bool = False) -> dict[tuple[int, str], OpenApiResponse]:
    """The answers of an operation that are not its result; `body` for one that takes a body."""
    both = {*codes, 406, *((413, 415) if body else ())}
    return {(code, "application/json"): _RESPONSES[code] for code in sorted(both)}


def strict_bodies(result: Any, **_: Any) -> Any:
    """A hook of drf-spectacular's: a POST has a body, and none has unknown fields but for an ignored `id`."""
    for path in result["paths"].values():
        if "post" in path:
            path["post"]["requestBody"]["required"] = True
    for name, component in result["components"]["schemas"].items():
        if name.endswith("Request") and component.get("type") == "object":
            component["additionalProperties"] = False
            component["properties"]["id"] = {"description": "Ignored: what a GET gave can be sent back."}
    return result
