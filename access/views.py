"""The REST paths of access: who the caller is, and the exchange of a sign-in code for a token."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_serializer
from rest_framework import exceptions, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from access import services
from access.authentication import caller_of
from access.callers import CLIENTS, Kind
from connect.web.openapi import FINN, MISSING, UNAVAILABLE, errors, response_spec
from connect.web.query_parameters import Query
from connect.web.rest import JsonRenderer, StrictSerializer, Text, object_body
from connect.wire_format import format_time


@extend_schema_serializer(component_name="Caller")
class _Caller(serializers.Serializer):
    kind = serializers.ChoiceField([kind.value for kind in Kind], help_text="`open` with ACCESS=open.")
    name = serializers.CharField(help_text="The user, or the prefix of the token, which is not secret.")
    person_id = serializers.IntegerField(required=False, help_text="Only for a person's token.")


class WhoAmI(APIView):
    """Your own identity."""

    callers = {"GET": CLIENTS}

    @extend_schema(
        operation_id="getCaller",
        tags=["access"],
        summary="Who is calling?",
        description="The kind and the owner of the token or session that the call is made with.",
        responses={
            200: response_spec(
                _Caller,
                "The caller.",
                {
                    "with ACCESS=open": {"kind": "open", "name": "anybody"},
                    "a person": {"kind": "person", "name": "token 3kd92mfP", "person_id": FINN["id"]},
                },
            ),
            **errors(UNAVAILABLE),
        },
    )
    def get(self, request: Request) -> Response:
        Query.of(request)
        caller = caller_of(request)
        person = {} if caller.person_id is None else {"person_id": caller.person_id}
        return Response({"kind": caller.kind, "name": caller.name, **person})


_CODE = "31415926.53589793238462643383279502884197"
_SIGNED_IN = {
    "token": "27182818.28459045235360287471352662497757",
    "ingest_token": "14142135.62373095048801688724209698078569",
    "person_id": FINN["id"],
    "expires": "2026-06-10T09:00:00Z",
}


class _CodeSerializer(StrictSerializer):
    """The part of a sign-in link after `#code=`."""

    code = Text(max_length=200, initial=_CODE, help_text="The code of a sign-in link.")


@extend_schema_serializer(component_name="SignedIn")
class _SignedIn(serializers.Serializer):
    token = serializers.CharField(help_text="A token of the kind `person`. No other answer contains it.")
    ingest_token = serializers.CharField(
        help_text="A token of the kind `ingest` that sends this person's pings. No other answer contains it."
    )
    person_id = serializers.IntegerField()
    expires = serializers.DateTimeField(help_text="When both tokens expire, UTC.")


class Exchange(APIView):
    """Exchanges the one-time code of a sign-in link for two tokens."""

    authentication_classes: list[Any] = []  # the code is the credential
    permission_classes: list[Any] = []
    renderer_classes = [JsonRenderer]

    @extend_schema(
        operation_id="exchangeCode",
        tags=["access"],
        summary="Exchange a sign-in code for tokens",
        description=(
            "The code of a sign-in link can be exchanged once for two tokens of its person: one reads the "
            "person's data, the other sends the person's pings. The code is in the "
            "fragment of the link, which browsers do not send to a server, so the client sends it here. No "
            "token is needed."
        ),
        request=_CodeSerializer,
        responses={
            201: response_spec(
                _SignedIn,
                "The tokens are valid now. The code is not valid any more.",
                {"a person": _SIGNED_IN},
            ),
            **errors(
                MISSING,
                UNAVAILABLE,
                body=True,
                public=True,
                wrong={"code": ["Must be a string."]},
                missing=services.NOT_VALID,
            ),
        },
        examples=[OpenApiExample("a code", value={"code": _CODE}, request_only=True)],
    )
    def post(self, request: Request) -> Response:
        Query.of(request)
        serializer = _CodeSerializer(data=object_body(request))
        serializer.is_valid(raise_exception=True)
        try:
            found = services.exchange(serializer.validated_data["code"])
        except services.CodeRefused as refused:
            raise exceptions.NotFound(str(refused)) from None
        signed_in = {
            "token": found.key,
            "ingest_token": found.ingest_key,
            "person_id": found.token.first_person_id,
            "expires": format_time(found.token.expiry_date),
        }
        return Response(signed_in, status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})
