"""The REST door to people."""

from dataclasses import asdict
from typing import Any

from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from connect.listing import answer
from connect.openapi import BAD, MISSING, NEXT_PAGE, PERSON_ID, PLACE, UNAVAILABLE, errors
from connect.queries import Query
from connect.rest import no_person, object_body
from persons import services
from persons.serializers import PersonSerializer, PersonsQuery

_ADA = {"first_name": "Ada", "last_name": "Lovelace", "company_name": "Engines Ltd"}
_EXAMPLES = [
    OpenApiExample("a new person", value=_ADA, request_only=True),
    OpenApiExample("the person", value={"id": 5, **_ADA}, response_only=True, status_codes=["200", "201"]),
]


class _View(APIView):
    def get_serializer(self, *args: Any, **kwargs: Any) -> serializers.Serializer:
        """For the browsable pages: what a form begins with."""
        return PersonSerializer(*args, **kwargs)


class People(_View):
    """People, ordered by id.

    Try [the first ten](?limit=10), [a search](?search=lovelace) or [two by id](?id=1&id=2).
    Without `limit` everything comes (this page shows the first 100).
    """

    @extend_schema(
        operation_id="listPersons",
        tags=["persons"],
        summary="List or search people",
        parameters=[PersonsQuery, NEXT_PAGE],
        responses={200: PersonSerializer(many=True), **errors(BAD, UNAVAILABLE)},
        examples=[
            OpenApiExample("two people", value={"id": 5, **_ADA}, response_only=True, status_codes=["200"])
        ],
    )
    def get(self, request: Request) -> HttpResponseBase:
        query = PersonsQuery.of(request)
        after = query["after"] or (0,)
        return answer(
            request,
            lambda limit: services.search(
                ids=query["id"], words=query["search"] or "", after=after[0], limit=limit
            ),
            limit=query["limit"],
            to_wire=lambda people: [asdict(person) for person in people],
            key=lambda person: (person.id,),
        )

    @extend_schema(
        operation_id="createPerson",
        tags=["persons"],
        summary="Make a person",
        description="The id comes from the server and is never given again. An `id` in the body is ignored.",
        parameters=[PLACE],
        request=PersonSerializer,
        responses={201: PersonSerializer, **errors(BAD, UNAVAILABLE, body=True)},
        examples=_EXAMPLES,
    )
    def post(self, request: Request) -> Response:
        Query.of(request)
        serializer = PersonSerializer(data=object_body(request))
        serializer.is_valid(raise_exception=True)
        person = services.create(**serializer.validated_data)
        return Response(
            asdict(person), status=status.HTTP_201_CREATED, headers={"Location": f"/api/persons/{person.id}"}
        )


class OnePerson(_View):
    """One person. Deleting it deletes where it was, too."""

    @extend_schema(
        operation_id="getPerson",
        tags=["persons"],
        summary="Get a person",
        parameters=[PERSON_ID],
        responses={200: PersonSerializer, **errors(BAD, MISSING, UNAVAILABLE)},
        examples=_EXAMPLES,
    )
    def get(self, request: Request, person_id: int) -> Response:
        Query.of(request)
        return self._answer(services.get_many([person_id]).get(person_id), person_id)

    @extend_schema(
        operation_id="replacePerson",
        tags=["persons"],
        summary="Replace a person's names",
        description="All three names are required.",
        parameters=[PERSON_ID],
        request=PersonSerializer,
        responses={200: PersonSerializer, **errors(BAD, MISSING, UNAVAILABLE, body=True)},
        examples=_EXAMPLES,
    )
    def put(self, request: Request, person_id: int) -> Response:
        return self._change(request, person_id, partial=False)

    @extend_schema(
        operation_id="changePerson",
        tags=["persons"],
        summary="Change some of a person's names",
        description="Names that are not in the body stay as they are.",
        parameters=[PERSON_ID],
        request=PersonSerializer(partial=True),
        responses={200: PersonSerializer, **errors(BAD, MISSING, UNAVAILABLE, body=True)},
        examples=_EXAMPLES,
    )
    def patch(self, request: Request, person_id: int) -> Response:
        return self._change(request, person_id, partial=True)

    @extend_schema(
        operation_id="deletePerson",
        tags=["persons"],
        summary="Delete a person and all its pings",
        description="Person and pings go in one transaction. The id is never given again.",
        parameters=[PERSON_ID],
        responses={204: None, **errors(BAD, MISSING, UNAVAILABLE)},
    )
    def delete(self, request: Request, person_id: int) -> Response:
        Query.of(request)
        if not services.delete(person_id):
            raise no_person(person_id)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _change(self, request: Request, person_id: int, *, partial: bool) -> Response:
        Query.of(request)
        serializer = PersonSerializer(data=object_body(request), partial=partial)
        serializer.is_valid(raise_exception=True)
        return self._answer(services.update(person_id, **serializer.validated_data), person_id)

    def _answer(self, person: services.Person | None, person_id: int) -> Response:
        if person is None:
            raise no_person(person_id)
        return Response(PersonSerializer(person).data)  # its forms begin with what is stored
