"""People on the wire, and what can be asked about them."""

from rest_framework import serializers

from connect.web.openapi import DAVID, FINN
from connect.web.query_parameters import Cursor, PagedQuery, RepeatableParameter, StrictInteger
from connect.web.rest import StrictBoolean, StrictSerializer, Text


class PersonSerializer(StrictSerializer):
    """A person. The names are trimmed; 1 to 255 characters each."""

    id = serializers.IntegerField(read_only=True, help_text="Given by the server, never twice.")
    first_name = Text(max_length=255, initial="Ada", help_text="1 to 255 characters after trimming.")
    last_name = Text(max_length=255, initial="Lovelace", help_text="1 to 255 characters after trimming.")
    company_name = Text(
        max_length=255, initial="Engines Ltd", help_text="1 to 255 characters after trimming."
    )


class ConsentSerializer(StrictSerializer):
    """What a person agrees to."""

    findable = StrictBoolean(
        initial=True,
        help_text="Whether others may find this person; `false` leaves it out of every answer about others.",
    )


class ConsentAnswerSerializer(serializers.Serializer):
    """What a person agrees to, and whether they were ever asked."""

    findable = serializers.BooleanField(help_text="Whether others may find this person.")
    decided = serializers.BooleanField(help_text="Whether this person ever chose it with their own token.")


class PersonsQuery(PagedQuery):
    id = RepeatableParameter(
        child=StrictInteger(),
        required=False,
        initial=[FINN["id"], DAVID["id"]],
        help_text=(
            "Only these people; repeatable, as in `id=1&id=2`. Left out are unknown ids, and who is not to "
            "be found."
        ),
    )
    search = Text(
        required=False,
        allow_blank=True,
        max_length=255,
        initial="brandt amber",
        help_text=(
            "Words, up to 255 characters, that must all stand, in any case, in the first name, last name or "
            "company."
        ),
    )
    after = Cursor(shape=(int,), required=False)
