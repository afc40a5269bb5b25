"""Everybody's stored encounters over REST, for staff."""

from collections.abc import Sequence
from typing import Any

import orjson
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from access.authentication import caller_of
from access.callers import EDITORS
from connect.people_cache import PeopleCache
from connect.web.openapi import (
    DAVID,
    FINN,
    LINK_HEADER,
    MISSING,
    TOO_LARGE,
    UNAVAILABLE,
    errors,
    response_spec,
)
from connect.web.renderers import FEATURES, FormatsView, GeoJson, format_parameter
from connect.web.rest import JsonRenderer, Page
from connect.web.streaming import answer
from connect.wire_format import format_degrees, format_time
from encounters import services
from encounters.queries import Element, Reached, StoredEncounter, Sum
from encounters.renderers import Csv, Gexf, GraphJson, GraphMl
from encounters.serializers import (
    CascadeQuery,
    EncountersQuery,
    GraphQuery,
    GraphSerializer,
    ReachedSerializer,
    StoredEncounterSerializer,
    SummaryQuery,
    SumSerializer,
)

_ENCOUNTER = {
    "persons": [FINN, DAVID],
    "start": "2026-05-11T09:07:55.857000Z",
    "end": "2026-05-11T09:24:07.640000Z",
    "duration_s": 971.783,
    "pings": 17,
    "min_distance_m": 0.91,
    "latitude": "52.5001674",
    "longitude": "13.4002777",
    "state": "ended",
}
_SUM = {"hour": "2026-05-11T09:00:00Z", "meetings": 779, "people": 193, "seconds": 529638.339}
_GRAPH = {
    "directed": False,
    "multigraph": False,
    "graph": {},
    "nodes": [FINN, DAVID],
    "edges": [{"source": FINN["id"], "target": DAVID["id"], "seconds": 2913.069, "meetings": 3}],
}
_ELEMENTS: list[dict[str, Any]] = [*_GRAPH["nodes"], *_GRAPH["edges"]]  # type: ignore[misc]
_REACHED = {
    "person": DAVID,
    "time": "2026-05-11T09:22:55.857000Z",
    "generation": 1,
    "path": [
        {
            "from_id": FINN["id"],
            "to_id": DAVID["id"],
            "start": "2026-05-11T09:07:55.857000Z",
            "end": "2026-05-11T09:24:07.640000Z",
            "time": "2026-05-11T09:22:55.857000Z",
        }
    ],
}
_ENCOUNTERS = "The encounters as JSON, GeoJSON or CSV; may be empty."
_RANGE = (
    "Has the encounters that start in the range, each as a whole, found with the default parameters of the "
    "question about one person. People who are not findable are left out. For staff."
)
_NO_NUMBER = {"min_duration": ["A valid number is required."]}


def _people(cache: PeopleCache, ids: Sequence[int]) -> list[dict[str, Any]] | None:
    """These people in wire form; None if one has been deleted meanwhile."""
    known = cache.load_ids(ids)
    people = [person for each in ids if (person := known[each])]
    return people if len(people) == len(ids) else None


class Encounters(FormatsView):
    """Everybody's encounters, each pair of people once.

    Try [a day](?start_date=2026-05-11&end_date=2026-05-11&limit=10), those of
    [ten minutes and more](?start_date=2026-05-11&end_date=2026-05-11&min_duration=600), or a day
    [as CSV](?start_date=2026-05-11&end_date=2026-05-11&format=csv).
    """

    callers = {"GET": EDITORS}
    renderer_classes = [JsonRenderer, Page, GeoJson, Csv]

    @extend_schema(
        operation_id="listAllEncounters",
        tags=["encounters"],
        summary="When people were together",
        description=(
            f"{_RANGE} Ordered by start, then the two ids; durations in seconds, distances in "
            "metres, positions in WGS84 degrees, times in UTC."
        ),
        parameters=[EncountersQuery, format_parameter("json", "geojson", "csv"), LINK_HEADER],
        responses={
            (200, "application/json"): response_spec(
                StoredEncounterSerializer(many=True), _ENCOUNTERS, {"Finn and David": _ENCOUNTER}
            ),
            (200, "application/geo+json"): response_spec(
                FEATURES, _ENCOUNTERS, {"as GeoJSON": orjson.loads(GeoJson().render([_ENCOUNTER]))}
            ),
            (200, "text/csv"): response_spec(
                OpenApiTypes.STR, _ENCOUNTERS, {"as CSV": Csv().render([_ENCOUNTER]).decode()}
            ),
            **errors(MISSING, TOO_LARGE, UNAVAILABLE, wrong=_NO_NUMBER),
        },
    )
    def get(self, request: Request) -> HttpResponseBase:
        query = EncountersQuery.of(request)
        cache = PeopleCache()

        def load(encounters: list[StoredEncounter]) -> None:
            cache.load_ids(each for encounter in encounters for each in encounter.person_ids)

        def to_wire(encounters: list[StoredEncounter]) -> list[dict[str, Any]]:
            load(encounters)
            return [
                {
                    "persons": people,
                    "start": format_time(encounter.start),
                    "end": format_time(encounter.end),
                    "duration_s": encounter.duration_s,
                    "pings": encounter.pings,
                    "min_distance_m": encounter.min_distance_m,
                    "latitude": format_degrees(encounter.latitude),
                    "longitude": format_degrees(encounter.longitude),
                    "state": "ongoing" if encounter.ongoing else "ended",
                }
                for encounter in encounters
                if (people := _people(cache, encounter.person_ids))
            ]

        return answer(
            request,
            lambda limit: services.encounters(
                caller_of(request), limit=limit, **EncountersQuery.keywords(query)
            ),
            limit=query["limit"],
            to_wire=to_wire,
            prefetch=load,
            key=lambda encounter: (format_time(encounter.start), *encounter.person_ids),
        )


class Summary(APIView):
    """Everybody's encounters, summed. The browsable page shows the first 100 groups.

    Try a day by [hour](?by=hour&start_date=2026-05-11&end_date=2026-05-11),
    [company](?by=company&start_date=2026-05-11&end_date=2026-05-11) or
    [person](?by=person&start_date=2026-05-11&end_date=2026-05-11).
    """

    callers = {"GET": EDITORS}

    @extend_schema(
        operation_id="sumEncounters",
        tags=["encounters"],
        summary="Sums of encounters",
        description=(
            f"{_RANGE} The groups of `by=hour` are in order of time; an encounter belongs to the "
            "UTC hour of its start. So are those of `by=quarter_hour`; an encounter belongs to each one that "
            "it touches, with its part of the seconds, and a quarter of an hour with pings has a group even "
            "without encounters. `by=attendee` has everybody with a ping, also those who met nobody. "
            "The others are ordered by seconds, the most first; then by the ids or by "
            "the names of the companies. Two companies have one group, and so have the people of one company."
        ),
        parameters=[SummaryQuery],
        responses={
            200: response_spec(
                SumSerializer(many=True), "The groups with encounters; may be empty.", {"an hour": _SUM}
            ),
            **errors(TOO_LARGE, UNAVAILABLE, wrong=_NO_NUMBER),
        },
    )
    def get(self, request: Request) -> HttpResponseBase:
        query = SummaryQuery.of(request)
        by, cache = query["by"], PeopleCache()

        def load(sums: list[Sum]) -> None:
            if by in ("pair", "person", "attendee"):
                cache.load_ids(each for one in sums for each in one.key)

        def named(key: tuple[Any, ...]) -> dict[str, Any] | None:
            """The fields that identify a group; None if one of its people has been deleted meanwhile."""
            match by:
                case "pair" | "person" | "attendee":
                    people = _people(cache, key)
                    if people is None:
                        return None
                    return {"persons": people} if by == "pair" else {"person": people[0]}
                case "company":
                    return {"companies": list(key)}
                case _:
                    return {by: format_time(key[0])}

        def to_wire(sums: list[Sum]) -> list[dict[str, Any]]:
            load(sums)
            return [
                names
                | {"meetings": one.meetings, "people": one.people, "seconds": one.seconds}
                | {name: format_time(each) if by == "attendee" else each for name, each in one.more.items()}
                for one in sums
                if (names := named(one.key))
            ]

        return answer(
            request,
            lambda limit: services.summary(caller_of(request), limit=limit, **SummaryQuery.keywords(query)),
            limit=query["limit"],
            to_wire=to_wire,
            prefetch=load,
            key=None,
        )


class Graph(FormatsView):
    """Who met whom as a graph. The browsable page shows the first 100 nodes.

    Try a day as [GraphML](?start_date=2026-05-11&end_date=2026-05-11&format=graphml) or
    [GEXF](?start_date=2026-05-11&end_date=2026-05-11&format=gexf).
    """

    callers = {"GET": EDITORS}
    renderer_classes = [GraphJson, Page, GraphMl, Gexf]

    @extend_schema(
        operation_id="getEncounterGraph",
        tags=["encounters"],
        summary="The graph of who met whom",
        description=(
            f"{_RANGE} The nodes are the people who met somebody, ordered by id. An edge is the "
            "time that two people were together, in seconds, and the number of their encounters; ordered by "
            "the two ids. In GEXF the seconds are the weight, too."
        ),
        parameters=[GraphQuery, format_parameter("json", "graphml", "gexf")],
        responses={
            (200, "application/json"): response_spec(
                GraphSerializer, "The graph; may be empty.", {"two people": _GRAPH}
            ),
            **{
                (200, each.media_type): response_spec(
                    OpenApiTypes.STR, "The graph.", {"two people": each().render(_ELEMENTS).decode()}
                )
                for each in (GraphMl, Gexf)
            },
            **errors(MISSING, TOO_LARGE, UNAVAILABLE, wrong=_NO_NUMBER, missing="Not found."),
        },
    )
    def get(self, request: Request) -> HttpResponseBase:
        query = GraphQuery.of(request)
        cache = PeopleCache()
        gone: set[int] = set()  # people who have been deleted meanwhile

        def to_wire(elements: list[Element]) -> list[dict[str, Any]]:
            known = cache.load_ids(each.person_a_id for each in elements if each.person_b_id is None)
            rows: list[dict[str, Any]] = []
            for each in elements:
                if each.person_b_id is not None:
                    if not {each.person_a_id, each.person_b_id} & gone:
                        rows.append(
                            {
                                "source": each.person_a_id,
                                "target": each.person_b_id,
                                "seconds": each.seconds,
                                "meetings": each.meetings,
                            }
                        )
                elif person := known[each.person_a_id]:
                    rows.append(person)
                else:
                    gone.add(each.person_a_id)
            return rows

        return answer(
            request,
            lambda _: services.graph(caller_of(request), **GraphQuery.keywords(query)),
            limit=None,
            to_wire=to_wire,
            key=None,
        )


class Cascade(APIView):
    """Who could have caught something from whom. The browsable page shows the first 100 people.

    Try [whom a person reaches](?person_id=1000001&start_date=2026-05-11&end_date=2026-05-11) in a day.
    """

    callers = {"GET": EDITORS}

    @extend_schema(
        operation_id="getCascade",
        tags=["encounters"],
        summary="Whom something can reach from a person",
        description=(
            f"{_RANGE} `person_id` has it at the beginning of the range. It passes on when two people have "
            "been together for `min_duration` seconds since the start of their encounter or, if that is "
            "later, since the first of them got it; the encounter must last that long. The answer has each "
            "person once, with the earliest time over all paths of at most `depth` encounters, ordered by "
            "time, then person. Of several paths with this time it has one with the fewest encounters."
        ),
        parameters=[CascadeQuery],
        responses={
            200: response_spec(
                ReachedSerializer(many=True), "The people whom it reaches; may be empty.", {"David": _REACHED}
            ),
            **errors(MISSING, TOO_LARGE, UNAVAILABLE, wrong=_NO_NUMBER),
        },
    )
    def get(self, request: Request) -> HttpResponseBase:
        query = CascadeQuery.of(request)
        cache = PeopleCache()

        def to_wire(rows: list[Reached]) -> list[dict[str, Any]]:
            people = cache.load(rows)
            return [
                {
                    "person": person,
                    "time": format_time(row.time),
                    "generation": row.generation,
                    "path": _path(query["person_id"], row),
                }
                for row in rows
                if (person := people[row.person_id])
            ]

        return answer(
            request,
            lambda _: services.cascade(caller_of(request), **CascadeQuery.keywords(query)),
            limit=None,
            to_wire=to_wire,
            prefetch=cache.load,
            key=None,
        )


def _path(first_id: int, row: Reached) -> list[dict[str, Any]]:
    carriers = [first_id, *(step.person_id for step in row.path)]
    return [
        {
            "from_id": carrier_id,
            "to_id": step.person_id,
            "start": format_time(step.start),
            "end": format_time(step.end),
            "time": format_time(step.time),
        }
        for carrier_id, step in zip(carriers, row.path, strict=False)
    ]
