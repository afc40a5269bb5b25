"""Parts of the OpenAPI schema that all apps share: errors, path parameters, headers, hooks.

The examples are two people of the event that `make up` simulates, so readers can try them unchanged.
"""

from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from connect.errors import QuestionTooLarge

FINN: dict[str, Any] = {
    "id": 1000001,
    "first_name": "Finn",
    "last_name": "Brandt",
    "company_name": "Amber Robotics",
}
DAVID: dict[str, Any] = {
    "id": 1000004,
    "first_name": "David",
    "last_name": "Osei",
    "company_name": "Indigo Foods",
}

BAD, MISSING, TOO_LARGE, UNAVAILABLE = 400, 404, 413, 503


class Detail(serializers.Serializer):
    detail = serializers.CharField(help_text="The error.")


class Schema(AutoSchema):
    """Uses the initial value of a form field as its example."""

    def _insert_field_validators(self, field: Any, schema: dict[str, Any]) -> None:
        super()._insert_field_validators(field, schema)
        if field.initial and "$ref" not in schema:
            schema["example"] = field.initial


_VALIDATION_ERRORS = {
    "type": "object",
    "description": "Per field or parameter: the error and the allowed values. Otherwise `detail`.",
    "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
}

PERSON_ID = OpenApiParameter(
    "person_id",
    int,
    OpenApiParameter.PATH,
    description="The id of a person, an integer.",
    examples=[OpenApiExample("a person of the event", value=FINN["id"])],
)
LOCATION_ID = OpenApiParameter(
    "location_id",
    str,
    OpenApiParameter.PATH,
    description="The person id, a hyphen, and the time in microseconds since 1970.",
    examples=[OpenApiExample("a location of the event", value="1000001-1778490034343000")],
)
LINK_HEADER = OpenApiParameter(
    "Link",
    str,
    OpenApiParameter.HEADER,
    description='`</api/…>; rel="next"`: path of the next page. Absent on the last page or without `limit`.',
    examples=[OpenApiExample("more", value='</api/persons?limit=100&after=WzEwMDAxMDBd>; rel="next"')],
    response=[200],
)
LOCATION_HEADER = OpenApiParameter(
    "Location",
    str,
    OpenApiParameter.HEADER,
    description="The path of the created object. Absent for an array.",
    examples=[OpenApiExample("a person", value="/api/persons/1000201")],
    response=[201, 202],
)


def response_spec(schema: Any, description: str, examples: dict[str, Any]) -> OpenApiResponse:
    """A response with named examples; for an array each example is one item."""
    named = [OpenApiExample(name, value=value, response_only=True) for name, value in examples.items()]
    return OpenApiResponse(schema, description=description, examples=named)


def errors(
    *codes: int,
    body: bool = False,
    wrong: dict[str, list[str]] | None = None,
    missing: str = "There is no person 999.",
    too_large: str = "The body has 5242881 bytes; 5242880 are allowed.",
    public: bool = False,
) -> dict[tuple[int, str], OpenApiResponse]:
    """The error responses of an operation. `body`: it takes a body. `public`: it needs no token.

    `wrong` is an example of a 400; `missing` and `too_large` are the details of 404 and 413.
    """
    faults = {"an unknown parameter": {"colour": ["Unknown parameter."]}}
    if wrong:
        faults["a bad value"] = wrong
    details = {
        401: (
            "The token is missing or invalid. (Never with ACCESS=open.)",
            "Authentication credentials were not provided.",
        ),
        403: (
            "This kind of caller may not make this call. (Never with ACCESS=open.)",
            "You do not have permission to perform this action.",
        ),
        MISSING: ("The person or location does not exist or is not visible to this caller.", missing),
        406: (
            "None of the requested formats is available.",
            "Could not satisfy the request Accept header.",
        ),
        413: ("The body exceeds 5 MB (5,242,880 bytes), or the array exceeds 10,000 items.", too_large),
        415: ("The body is not application/json.", 'Unsupported media type "text/plain" in request.'),
        UNAVAILABLE: (
            "A dependency of this call is unavailable. A retry after `Retry-After` seconds is safe.",
            "What this call needs is out of reach. Sending it again is safe.",
        ),
    }
    if not body:
        details[TOO_LARGE] = ("The query exceeds its time limit.", str(QuestionTooLarge()))
    answers = {
        code: response_spec(Detail, description, {"refused": {"detail": detail}})
        for code, (description, detail) in details.items()
    }
    answers[BAD] = response_spec(
        _VALIDATION_ERRORS, "Invalid input. The response names the field and the allowed values.", faults
    )
    used = {BAD, 406, *codes, *((413, 415) if body else ()), *(() if public else (401, 403))}
    return {(code, "application/json"): answers[code] for code in sorted(used)}


def retry_after(result: Any, **_: Any) -> Any:
    """A drf-spectacular hook: adds the header Retry-After to every 503."""
    for path in result["paths"].values():
        for operation in path.values():
            if answer := operation["responses"].get(str(UNAVAILABLE)):
                answer["headers"] = {
                    "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds.", "example": 2}
                }
    return result


def strict_bodies(result: Any, **_: Any) -> Any:
    """A drf-spectacular hook: a POST requires a body, and bodies allow no unknown fields but `id`."""
    for path in result["paths"].values():
        if body := path.get("post", {}).get("requestBody"):
            body["required"] = True
    for name, component in result["components"]["schemas"].items():
        if name.endswith("Request") and component.get("type") == "object":
            component["additionalProperties"] = False
            component["properties"]["id"] = {
                "description": "Ignored, so that a client can send back a GET response."
            }
    return result
