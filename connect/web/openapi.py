"""What the schema says of all apps alike: errors in DRF's own shapes, paths, pages, what is refused.

Its examples are two people of the event that `make up` simulates and the time they spent together, so that
they can be tried as they stand.
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
    detail = serializers.CharField(help_text="What is wrong.")


class Schema(AutoSchema):
    """An example of a field is what a form of it begins with."""

    def _insert_field_validators(self, field: Any, schema: dict[str, Any]) -> None:
        super()._insert_field_validators(field, schema)
        if field.initial and "$ref" not in schema:
            schema["example"] = field.initial


_FAULTS_SCHEMA = {
    "type": "object",
    "description": "By field or parameter, what is wrong and what is allowed; or `detail`.",
    "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
}

PERSON_ID = OpenApiParameter(
    "person_id",
    int,
    OpenApiParameter.PATH,
    description="The id of a person, a whole number.",
    examples=[OpenApiExample("a person of the event", value=FINN["id"])],
)
LOCATION_ID = OpenApiParameter(
    "location_id",
    str,
    OpenApiParameter.PATH,
    description="The person and the time in microseconds since 1970, with a hyphen between them.",
    examples=[OpenApiExample("a location of the event", value="1000001-1778490034343000")],
)
LINK_HEADER = OpenApiParameter(
    "Link",
    str,
    OpenApiParameter.HEADER,
    description='`</api/…>; rel="next"`: the next page, a path. Absent on the last one and without `limit`.',
    examples=[OpenApiExample("more", value='</api/persons?limit=100&after=WzEwMDAxMDBd>; rel="next"')],
    response=[200],
)
LOCATION_HEADER = OpenApiParameter(
    "Location",
    str,
    OpenApiParameter.HEADER,
    description="The path of what was made; none for an array.",
    examples=[OpenApiExample("a person", value="/api/persons/1000201")],
    response=[201, 202],
)


def response_spec(shape: Any, description: str, examples: dict[str, Any]) -> OpenApiResponse:
    """An answer and its examples by name; of an array they are one item each."""
    named = [OpenApiExample(name, value=value, response_only=True) for name, value in examples.items()]
    return OpenApiResponse(shape, description=description, examples=named)


def errors(
    *codes: int,
    body: bool = False,
    wrong: dict[str, list[str]] | None = None,
    missing: str = "There is no person 999.",
    too_large: str = "The body has 5242881 bytes; 5242880 are allowed.",
    public: bool = False,
) -> dict[tuple[int, str], OpenApiResponse]:
    """The answers of an operation that are not its result; `body` for one that takes a body.

    `public` is one that asks for no token. `wrong` is what a 400 says of a value of this operation,
    `missing` and `too_large` what 404 and 413 say.
    """
    faults = {"an unknown parameter": {"colour": ["Unknown parameter."]}}
    if wrong:
        faults["a bad value"] = wrong
    said = {
        401: (
            "No token, or none that is valid. (Never where ACCESS=open.)",
            "Authentication credentials were not provided.",
        ),
        403: (
            "A caller of this kind may not make this call. (Never where ACCESS=open.)",
            "You do not have permission to perform this action.",
        ),
        MISSING: ("There is no such person or location, or none that this caller may see.", missing),
        406: (
            "None of the formats asked for can be had.",
            "Could not satisfy the request Accept header.",
        ),
        413: ("The body has over 5 MB (5,242,880 bytes), or the array over 10,000 items.", too_large),
        415: ("The body is not application/json.", 'Unsupported media type "text/plain" in request.'),
        UNAVAILABLE: (
            "What the call needs is out of reach. Sending it again after `Retry-After` s is safe.",
            "What this call needs is out of reach. Sending it again is safe.",
        ),
    }
    if not body:
        said[TOO_LARGE] = ("The answer takes longer than a caller may have.", str(QuestionTooLarge()))
    answers = {
        code: response_spec(Detail, description, {"refused": {"detail": detail}})
        for code, (description, detail) in said.items()
    }
    answers[BAD] = response_spec(
        _FAULTS_SCHEMA, "Something in the call is wrong; it says what, and what is allowed.", faults
    )
    given = {BAD, 406, *codes, *((413, 415) if body else ()), *(() if public else (401, 403))}
    return {(code, "application/json"): answers[code] for code in sorted(given)}


def retry_after(result: Any, **_: Any) -> Any:
    """A hook of drf-spectacular's: what is out of reach says when to ask again."""
    for path in result["paths"].values():
        for operation in path.values():
            if answer := operation["responses"].get(str(UNAVAILABLE)):
                answer["headers"] = {
                    "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds.", "example": 2}
                }
    return result


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
