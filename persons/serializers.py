"""Serializers of people and of the query parameters for people."""

from rest_framework import serializers

from connect.web.openapi import DAVID, FINN
from connect.web.query_parameters import Cursor, PagedQuery, RepeatableParameter, StrictInteger
from connect.web.rest import StrictBoolean, StrictSerializer, Text


class PersonSerializer(StrictSerializer):
    """A person. Names are trimmed and have 1 to 255 characters."""

    id = serializers.IntegerField(read_only=True, help_text="Assigned by the server; never reused.")
    first_name = Text(max_length=255, initial="Ada", help_text="1 to 255 characters after trimming.")
    last_name = Text(max_length=255, initial="Lovelace", help_text="1 to 255 characters after trimming.")
    company_name = Text(
        max_length=255, initial="Engines Ltd", help_text="1 to 255 characters after trimming."
    )


class ConsentSerializer(StrictSerializer):
    """A person's consent."""

    findable = StrictBoolean(
        initial=True,
        help_text="Whether others may find this person. `false`: left out of all answers about others.",
    )


class ConsentAnswerSerializer(serializers.Serializer):
    """A person's consent, and whether they chose it themselves."""

    findable = serializers.BooleanField(help_text="Whether others may find this person.")
    decided = serializers.BooleanField(help_text="Whether this person ever set it with their own token.")


class PersonsQuery(PagedQuery):
    id = RepeatableParameter(
        child=StrictInteger(),
        required=False,
        initial=[FINN["id"], DAVID["id"]],
        help_text=(
            "Only these people. Repeatable, as in `id=1&id=2`. Unknown ids and people who are not findable "
            "are left out."
        ),
    )
    search = Text(
        required=False,
        allow_blank=True,
        max_length=255,
        initial="brandt amber",
        help_text=(
            "Words, up to 255 characters in all. Each word must be part of the first name, last name or "
            "company name; case is ignored."
        ),
    )
    after = Cursor(shape=(int,), required=False)
