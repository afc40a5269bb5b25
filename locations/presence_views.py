"""Days, positions and heat over REST."""

from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from access.authentication import caller_of
from access.callers import READERS
from connect.people_cache import PeopleCache
from connect.web.openapi import FINN, MISSING, TOO_LARGE, UNAVAILABLE, errors, response_spec
from connect.web.streaming import answer
from connect.wire_format import format_degrees, format_time
from locations import services
from locations.presence_serializers import (
    DaySerializer,
    DaysQuery,
    HeatCellSerializer,
    HeatQuery,
    PositionSerializer,
    PositionsQuery,
)

_DAY = {"day": "2026-05-11", "first": "2026-05-11T09:00:34.343000Z", "last": "2026-05-11T16:55:12.977000Z"}
_POSITION = {
    "location": {
        "id": "1000001-1778500776726000",
        "person_id": 1000001,
        "latitude": "52.5001785",
        "longitude": "13.4002535",
        "creation_time": "2026-05-11T11:59:36.726000Z",
        "accuracy": None,
    },
    "person": FINN,
}
_CELL = {"latitude": "52.4999382", "longitude": "13.4004517", "person_minutes": 2, "people": 2}


class Days(APIView):
    """The days that have pings. The browsable page shows the first 100.

    Ask for [all days](?time_zone=Europe/Berlin) or [a person's](?person_id=1).
    """

    callers = {"GET": READERS}

    @extend_schema(
        operation_id="listDays",
        tags=["locations"],
        summary="List the days that have pings",
        description=(
            "Ordered by day, with the times of the first and the last ping in UTC. Without `person_id` only "
            "people who are findable count; with a person's token only the person."
        ),
        parameters=[DaysQuery],
        responses={
            200: response_spec(DaySerializer(many=True), "The days; may be empty.", {"a day": _DAY}),
            **errors(
                MISSING,
                TOO_LARGE,
                UNAVAILABLE,
                wrong={"time_zone": ["Must be an IANA time zone such as Europe/Berlin."]},
            ),
        },
    )
    def get(self, request: Request) -> HttpResponseBase:
        query = DaysQuery.of(request)
        return answer(
            request,
            lambda _: services.days(
                caller_of(request), person_id=query["person_id"], time_zone=query["time_zone"]
            ),
            limit=None,
            to_wire=lambda days: [
                {"day": day.day.isoformat(), "first": format_time(day.first), "last": format_time(day.last)}
                for day in days
            ],
            key=None,
        )


class Positions(APIView):
    """The positions of people at an instant. The browsable page shows the first 100.

    Try [noon](?at=2026-05-11T12:00:00Z).
    """

    callers = {"GET": READERS}

    @extend_schema(
        operation_id="listPositions",
        tags=["locations"],
        summary="Where people are at an instant",
        description=(
            "The newest location of each person up to `at`, if it is less than `max_age` seconds old then. "
            "Ordered by person; positions in WGS84 degrees, times in UTC. Only people who are findable; with "
            "a person's token only the person."
        ),
        parameters=[PositionsQuery],
        responses={
            200: response_spec(
                PositionSerializer(many=True), "The positions; may be empty.", {"a person": _POSITION}
            ),
            **errors(TOO_LARGE, UNAVAILABLE, wrong={"max_age": ["Must be more than 0."]}),
        },
    )
    def get(self, request: Request) -> HttpResponseBase:
        query = PositionsQuery.of(request)
        cache = PeopleCache()
        return answer(
            request,
            lambda _: services.positions(
                caller_of(request), at=query["at"], bounds=query["bbox"], **PositionsQuery.numbers(query)
            ),
            limit=None,
            to_wire=cache.with_people,
            prefetch=cache.load,
            key=None,
        )


class Heat(APIView):
    """A heat map: person-minutes in the cells of a grid. The browsable page shows the first 100.

    Try [a day](?start=2026-05-11&end=2026-05-11).
    """

    callers = {"GET": READERS}

    @extend_schema(
        operation_id="listHeat",
        tags=["locations"],
        summary="Person-minutes in the cells of a grid",
        description=(
            "The cells that have pings in the range, which is at most 31 days. A cell is `cell_m` metres "
            "high, and `cell_m` metres wide at the middle latitude of its row. Ordered by latitude, then "
            "longitude, in WGS84 degrees. Only people who are findable count; with a person's token only the "
            "person."
        ),
        parameters=[HeatQuery],
        responses={
            200: response_spec(HeatCellSerializer(many=True), "The cells; may be empty.", {"a cell": _CELL}),
            **errors(
                TOO_LARGE, UNAVAILABLE, wrong={"cell_m": ["Ensure this value is greater than or equal to 1."]}
            ),
        },
    )
    def get(self, request: Request) -> HttpResponseBase:
        query = HeatQuery.of(request)
        return answer(
            request,
            lambda _: services.heat(
                caller_of(request), start=query["start"], end=query["end"], **HeatQuery.numbers(query)
            ),
            limit=None,
            to_wire=lambda cells: [
                {
                    "latitude": format_degrees(cell.latitude),
                    "longitude": format_degrees(cell.longitude),
                    "person_minutes": cell.person_minutes,
                    "people": cell.people,
                }
                for cell in cells
            ],
            key=None,
        )
