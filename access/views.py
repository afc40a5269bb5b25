"""Who a caller is, for the caller itself: the web app asks so before it shows anything."""

from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from connect.authentication import caller_of
from connect.callers import CLIENTS, Kind
from connect.openapi import FINN, UNAVAILABLE, errors, shown
from connect.queries import Query


@extend_schema_serializer(component_name="Caller")
class _Caller(serializers.Serializer):
    kind = serializers.ChoiceField([kind.value for kind in Kind], help_text="`open` where ACCESS=open.")
    name = serializers.CharField(help_text="Of the user, or the part of the token that is not secret.")
    person_id = serializers.IntegerField(required=False, help_text="Only of a person's own token.")


class WhoAmI(APIView):
    """Who you are here."""

    callers = {"GET": CLIENTS}

    @extend_schema(
        operation_id="getCaller",
        tags=["access"],
        summary="Who is calling?",
        description="The kind of the token that is shown, or of the session, and whose it is.",
        responses={
            200: shown(
                _Caller,
                "As the token or the session says.",
                {
                    "where ACCESS=open": {"kind": "open", "name": "anybody"},
                    "a person": {"kind": "person", "name": "token 3kd92mfP", "person_id": FINN["id"]},
                },
            ),
            **errors(UNAVAILABLE),
        },
    )
    def get(self, request: Request) -> Response:
        Query.of(request)
        caller = caller_of(request)
        own = {} if caller.person_id is None else {"person_id": caller.person_id}
        return Response({"kind": caller.kind, "name": caller.name, **own})
