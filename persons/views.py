"""The REST paths of people."""

from typing import Any

from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from access import audit
from access.authentication import caller_of
from access.callers import EDITORS, OWNERS, READERS
from connect.web.openapi import (
    FINN,
    LINK_HEADER,
    LOCATION_HEADER,
    MISSING,
    PERSON_ID,
    UNAVAILABLE,
    errors,
    response_spec,
)
from connect.web.query_parameters import Query
from connect.web.rest import object_body, person_not_found
from connect.web.streaming import answer
from persons import services
from persons.serializers import ConsentAnswerSerializer, ConsentSerializer, PersonSerializer, PersonsQuery

_ADA = {"first_name": "Ada", "last_name": "Lovelace", "company_name": "Engines Ltd"}
_A_BLANK_NAME = {"company_name": ["This field may not be blank."]}


def _person(description: str, person: dict[str, Any]) -> OpenApiResponse:
    return response_spec(PersonSerializer, description, {"the person": person})


class _View(APIView):
    def get_serializer(self, *args: Any, **kwargs: Any) -> serializers.Serializer:
        """Gives the forms of the browsable pages their initial values."""
        return PersonSerializer(*args, **kwargs)


class People(_View):
    """People, ordered by id.

    Try [the first ten](?limit=10), [a search](?search=lovelace) or [two by id](?id=1&id=2).
    Without `limit` the answer has all people (this page shows the first 100).
    """

    callers = {"GET": READERS, "POST": EDITORS}

    @extend_schema(
        operation_id="listPersons",
        tags=["persons"],
        summary="List or search people",
        description=(
            "Findable people, ordered by id. With both `id` and `search`, a person must match both. With a "
            "person's token the answer has only that person."
        ),
        parameters=[PersonsQuery, LINK_HEADER],
        responses={
            200: response_spec(
                PersonSerializer(many=True), "The people found; may be empty.", {"a person": FINN}
            ),
            **errors(UNAVAILABLE, wrong={"limit": ["Ensure this value is greater than or equal to 1."]}),
        },
    )
    def get(self, request: Request) -> HttpResponseBase:
        query = PersonsQuery.of(request)
        after = query["after"] or (0,)
        names: list[int] = []

        def to_wire(people: list[services.Person]) -> list[dict[str, Any]]:
            if query["search"]:
                names.extend(person.id for person in people)
                audit.set_people(request, names)
            return [person.to_wire() for person in people]

        return answer(
            request,
            lambda limit: services.search(
                caller_of(request), ids=query["id"], words=query["search"] or "", after=after[0], limit=limit
            ),
            limit=query["limit"],
            to_wire=to_wire,
            key=lambda person: (person.id,),
            audits_after_read=bool(query["search"]),
        )

    @extend_schema(
        operation_id="createPerson",
        tags=["persons"],
        summary="Create a person",
        description=(
            "Names are trimmed and must then have 1 to 255 characters. The server assigns the id and never "
            "reuses it; an `id` in the body is ignored."
        ),
        parameters=[LOCATION_HEADER],
        request=PersonSerializer,
        responses={
            201: _person("Created. The header `Location` has its path.", {"id": 1000201, **_ADA}),
            **errors(UNAVAILABLE, body=True, wrong=_A_BLANK_NAME),
        },
        examples=[OpenApiExample("a new person", value=_ADA, request_only=True)],
    )
    def post(self, request: Request) -> Response:
        Query.of(request)
        serializer = PersonSerializer(data=object_body(request))
        serializer.is_valid(raise_exception=True)
        person = services.create(**serializer.validated_data)
        return Response(
            person.to_wire(),
            status=status.HTTP_201_CREATED,
            headers={"Location": f"/api/persons/{person.id}"},
        )


class OnePerson(_View):
    """One person. Deleting a person also deletes their pings."""

    callers = {"GET": READERS, "PUT": EDITORS, "PATCH": EDITORS, "DELETE": EDITORS}

    @extend_schema(
        operation_id="getPerson",
        tags=["persons"],
        summary="Get a person",
        description="The person with this id. With a person's token only that person is found.",
        parameters=[PERSON_ID],
        responses={200: _person("This person.", FINN), **errors(MISSING, UNAVAILABLE)},
    )
    def get(self, request: Request, person_id: int) -> Response:
        Query.of(request)
        return self._answer(services.get(caller_of(request), person_id), person_id)

    @extend_schema(
        operation_id="replacePerson",
        tags=["persons"],
        summary="Replace a person's names",
        description="All three names are required; they are trimmed and have 1 to 255 characters.",
        parameters=[PERSON_ID],
        request=PersonSerializer,
        responses={
            200: _person("The person with the new names.", FINN | _ADA),
            **errors(MISSING, UNAVAILABLE, body=True, wrong=_A_BLANK_NAME),
        },
        examples=[OpenApiExample("all names", value=_ADA, request_only=True)],
    )
    def put(self, request: Request, person_id: int) -> Response:
        return self._change(request, person_id, partial=False)

    @extend_schema(
        operation_id="changePerson",
        tags=["persons"],
        summary="Change some of a person's names",
        description="Names that are not in the body do not change. The others must have 1 to 255 characters.",
        parameters=[PERSON_ID],
        request=PersonSerializer(partial=True),
        responses={
            200: _person("The person after the change.", FINN | {"company_name": "Engines Ltd"}),
            **errors(MISSING, UNAVAILABLE, body=True, wrong=_A_BLANK_NAME),
        },
        examples=[OpenApiExample("one name", value={"company_name": "Engines Ltd"}, request_only=True)],
    )
    def patch(self, request: Request, person_id: int) -> Response:
        return self._change(request, person_id, partial=True)

    @extend_schema(
        operation_id="deletePerson",
        tags=["persons"],
        summary="Delete a person and all their pings",
        description=(
            "Deletes the person and their stored pings in one transaction. Pings that are not stored yet are "
            "dropped. The id is never reused."
        ),
        parameters=[PERSON_ID],
        responses={204: OpenApiResponse(description="Deleted."), **errors(MISSING, UNAVAILABLE)},
    )
    def delete(self, request: Request, person_id: int) -> Response:
        Query.of(request)
        if not services.delete(person_id):
            raise person_not_found(person_id)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _change(self, request: Request, person_id: int, *, partial: bool) -> Response:
        Query.of(request)
        serializer = PersonSerializer(data=object_body(request), partial=partial)
        serializer.is_valid(raise_exception=True)
        return self._answer(services.update(person_id, **serializer.validated_data), person_id)

    def _answer(self, person: services.Person | None, person_id: int) -> Response:
        if person is None:
            raise person_not_found(person_id)
        return Response(PersonSerializer(person).data)  # a serializer, for the initial values of the forms


class Consent(APIView):
    """A person's consent: whether others may find them."""

    callers = {"GET": OWNERS, "PUT": OWNERS}

    def get_serializer(self, *args: Any, **kwargs: Any) -> serializers.Serializer:
        """Gives the form of the browsable page its initial values."""
        return ConsentSerializer(*args, **kwargs)

    @extend_schema(
        operation_id="getConsent",
        tags=["persons"],
        summary="Get a person's consent",
        description=(
            "Whether others may find this person, and whether the person ever chose that. The web app asks "
            "at the first sign-in; until then FINDABLE_BY_DEFAULT applies."
        ),
        parameters=[PERSON_ID],
        responses={
            200: response_spec(
                ConsentAnswerSerializer,
                "The consent.",
                {"never asked": {"findable": True, "decided": False}},
            ),
            **errors(MISSING, UNAVAILABLE),
        },
    )
    def get(self, request: Request, person_id: int) -> Response:
        Query.of(request)
        consent = services.consent(person_id) if caller_of(request).speaks_for(person_id) else None
        if consent is None:
            raise person_not_found(person_id)
        return Response(consent._asdict())

    @extend_schema(
        operation_id="setConsent",
        tags=["persons"],
        summary="Set a person's consent",
        description=(
            "With `false` the person is left out of all answers about others, from the next question on: "
            "lists of people and locations, and other people's connections and encounters. Questions about "
            "the person by id are answered as before. Pings are still accepted."
        ),
        parameters=[PERSON_ID],
        request=ConsentSerializer,
        responses={
            200: response_spec(
                ConsentSerializer, "The consent after the change.", {"not findable": {"findable": False}}
            ),
            **errors(MISSING, UNAVAILABLE, body=True, wrong={"findable": ["Must be true or false."]}),
        },
        examples=[OpenApiExample("not findable", value={"findable": False}, request_only=True)],
    )
    def put(self, request: Request, person_id: int) -> Response:
        Query.of(request)
        serializer = ConsentSerializer(data=object_body(request))
        serializer.is_valid(raise_exception=True)
        caller = caller_of(request)
        findable = serializer.validated_data["findable"]
        by_themselves = caller.person_id == person_id
        if not (
            caller.speaks_for(person_id)
            and services.set_findable(person_id, findable=findable, by_themselves=by_themselves)
        ):
            raise person_not_found(person_id)
        return Response({"findable": findable})
