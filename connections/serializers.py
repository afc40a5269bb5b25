"""Connections and encounters in REST, and their query parameters."""

from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from connect.web.query_parameters import Cursor, PagedQuery
from locations import limits
from locations.serializers import LocationSerializer, NamedPersonSerializer, RangeQuery


class _PageOfRange(RangeQuery, PagedQuery):
    """The range, the page and the parameters of a question."""

    @classmethod
    def keywords(cls, query: dict[str, Any]) -> dict[str, Any]:
        return super().keywords(query) | {"after": query["after"]}


class ConnectionsQuery(_PageOfRange):
    parameters = limits.CONNECTIONS
    after = Cursor(shape=(datetime, int), required=False)


class EncountersQuery(_PageOfRange):
    parameters = limits.ENCOUNTERS
    after = Cursor(shape=(datetime, int, int), required=False)


@extend_schema_serializer(component_name="PersonMet")
class _Person(NamedPersonSerializer):
    pass


@extend_schema_serializer(component_name="LocationNear")
class _Location(LocationSerializer):
    pass


class ConnectionSerializer(serializers.Serializer):
    """A location of another person, and that person."""

    location = _Location()
    person = _Person()

    class Meta:
        ref_name = "Connection"


class EncounterSerializer(serializers.Serializer):
    """An uninterrupted time together; its start and end are the same for both people."""

    person = _Person()
    start = serializers.CharField(help_text="UTC: the later of the two people's first pings in it.")
    end = serializers.CharField(help_text="UTC: the earlier of their last pings in it; never before start.")
    duration_s = serializers.FloatField(help_text="Seconds from start to end; 0 for a single pair.")
    pings = serializers.IntegerField(help_text="The other person's distinct pings in it.")
    min_distance_m = serializers.FloatField(help_text="The smallest distance in metres, 2 decimals.")
    latitude = serializers.CharField(help_text="Of the own ping at the smallest distance; 7 decimals.")
    longitude = serializers.CharField(help_text="Of the own ping at the smallest distance; 7 decimals.")
