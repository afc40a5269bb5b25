"""Everybody's encounters in REST, and the query parameters of the questions about them."""

from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from connect.web.openapi import FINN
from connect.web.query_parameters import MAX_LIMIT, Cursor, PagedQuery, StrictInteger
from encounters.queries import BY
from locations import limits
from locations.serializers import NamedPersonSerializer, RangeQuery

_START = "UTC: the later of the two people's first pings in it."
_END = "UTC: the earlier of their last pings in it; never before start."


class EncountersQuery(RangeQuery, PagedQuery):
    parameters = limits.STORED_ENCOUNTERS
    person_id = StrictInteger(
        required=False, initial=FINN["id"], help_text="Only encounters of the person with this integer id."
    )
    company = serializers.CharField(
        required=False,
        initial=FINN["company_name"],
        max_length=255,
        help_text=(
            "Only encounters of at least one person of this company: its whole name, at most 255 characters."
        ),
    )
    zone = StrictInteger(
        required=False,
        initial=1,
        help_text="Only encounters whose position is in the zone with this integer id, border included.",
    )
    after = Cursor(shape=(datetime, int, int), required=False)

    @classmethod
    def keywords(cls, query: dict[str, Any]) -> dict[str, Any]:
        return super().keywords(query) | {
            "person_id": query["person_id"],
            "company": query["company"],
            "zone_id": query["zone"],
            "after": query["after"],
        }


class SummaryQuery(RangeQuery):
    parameters = limits.STORED_ENCOUNTERS
    by = serializers.ChoiceField(
        choices=BY,
        initial="hour",
        help_text=(
            "The groups: `pair` of people, `person`, `attendee` (a person with a ping in the range), two "
            "companies (`company`), UTC `hour` of the start, or `quarter_hour`."
        ),
        error_messages={"invalid_choice": f"Must be one of {', '.join(BY)}."},
    )
    limit = StrictInteger(
        min_value=1,
        max_value=MAX_LIMIT,
        required=False,
        initial=100,
        help_text="Maximum number of rows, 1 to 10,000: the first groups. Without it all of them.",
    )

    @classmethod
    def keywords(cls, query: dict[str, Any]) -> dict[str, Any]:
        return super().keywords(query) | {"by": query["by"]}


class GraphQuery(RangeQuery):
    parameters = limits.STORED_ENCOUNTERS


class CascadeQuery(RangeQuery):
    parameters = limits.CASCADE
    person_id = StrictInteger(initial=FINN["id"], help_text="The integer id of the person who has it first.")
    depth = StrictInteger(
        default=limits.DEPTH,
        min_value=1,
        max_value=limits.MAX_DEPTH,
        initial=limits.DEPTH,
        help_text=(
            f"Maximum number of encounters from the first person to the last: 1 to {limits.MAX_DEPTH}; "
            f"default {limits.DEPTH}."
        ),
    )

    @classmethod
    def keywords(cls, query: dict[str, Any]) -> dict[str, Any]:
        return super().keywords(query) | {"person_id": query["person_id"], "depth": query["depth"]}


@extend_schema_serializer(component_name="PersonOfEncounter")
class _Person(NamedPersonSerializer):
    pass


class StoredEncounterSerializer(serializers.Serializer):
    """An uninterrupted time together of two people, as the one with the smaller id sees it."""

    persons = _Person(many=True, help_text="The two people; the smaller id first.")
    start = serializers.CharField(help_text=_START)
    end = serializers.CharField(help_text=_END)
    duration_s = serializers.FloatField(help_text="Seconds from start to end; 0 for a single pair.")
    pings = serializers.IntegerField(help_text="Distinct pings of the second person in it.")
    min_distance_m = serializers.FloatField(help_text="The smallest distance in metres, 2 decimals.")
    latitude = serializers.CharField(help_text="Of the first person at the smallest distance; 7 decimals.")
    longitude = serializers.CharField(help_text="Of the first person at the smallest distance; 7 decimals.")
    state = serializers.ChoiceField(
        choices=["ongoing", "ended"], help_text="`ongoing`: it may go on, so all else may change."
    )


class SumSerializer(serializers.Serializer):
    """The sums of a group. One of the first five fields says which; it depends on `by`."""

    persons = _Person(many=True, required=False, help_text="by=pair: the two people, the smaller id first.")
    person = _Person(required=False, help_text="by=person and by=attendee.")
    companies = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        help_text="by=company: the companies of the two people, in order; twice the same for colleagues.",
    )
    hour = serializers.CharField(required=False, help_text="by=hour: the beginning of the hour, UTC.")
    quarter_hour = serializers.CharField(
        required=False, help_text="by=quarter_hour: the beginning of the quarter of an hour, UTC."
    )
    meetings = serializers.IntegerField(help_text="The number of encounters.")
    people = serializers.IntegerField(
        help_text=(
            "The number of distinct people in them; by=person and by=attendee: of the others, whom the "
            "person met."
        )
    )
    seconds = serializers.FloatField(
        help_text="The sum of the durations in seconds; by=quarter_hour: of their parts within it."
    )
    first = serializers.CharField(
        required=False, help_text="by=attendee: the time of the first ping in the range, UTC."
    )
    last = serializers.CharField(required=False, help_text="by=attendee: the time of the last one.")
    pairs = serializers.IntegerField(
        required=False, help_text="by=company: the number of distinct pairs of people in them."
    )
    present = serializers.IntegerField(
        required=False, help_text="by=quarter_hour: the number of people with a ping within it."
    )
    arrived = serializers.IntegerField(
        required=False, help_text="by=quarter_hour: those of them without an earlier ping in the range."
    )


@extend_schema_serializer(component_name="GraphNode")
class _Node(NamedPersonSerializer):
    pass


class _EdgeSerializer(serializers.Serializer):
    source = serializers.IntegerField(  # type: ignore[assignment] # the name on the wire
        help_text="The smaller id of the two people."
    )
    target = serializers.IntegerField(help_text="The larger id.")
    seconds = serializers.FloatField(help_text="Time together in seconds.")
    meetings = serializers.IntegerField(help_text="The number of encounters.")

    class Meta:
        ref_name = "GraphEdge"


class GraphSerializer(serializers.Serializer):
    """Node-link JSON of an undirected graph."""

    directed = serializers.BooleanField(help_text="Always false.")
    multigraph = serializers.BooleanField(help_text="Always false: two people have one edge.")
    graph = serializers.DictField(help_text="Empty.")
    nodes = _Node(many=True, help_text="The people who met somebody, ordered by id.")
    edges = _EdgeSerializer(many=True, help_text="Who met whom, ordered by source, then target.")


class _StepSerializer(serializers.Serializer):
    from_id = serializers.IntegerField(help_text="The person who passes it on.")
    to_id = serializers.IntegerField(help_text="The person who gets it.")
    start = serializers.CharField(help_text=_START)
    end = serializers.CharField(help_text=_END)
    time = serializers.CharField(help_text="UTC: when the second person gets it.")

    class Meta:
        ref_name = "CascadeStep"


class ReachedSerializer(serializers.Serializer):
    """A person whom it can reach."""

    person = _Person()
    time = serializers.CharField(help_text="UTC: the earliest time at which the person can have it.")
    generation = serializers.IntegerField(help_text="The number of encounters from the first person.")
    path = _StepSerializer(many=True, help_text="These encounters, in order.")
