"""Pings through the seam, for whoever hands them in at a door."""

from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter

from connect import neighbours
from connect.callers import Caller
from locations.pings import Ping, unknown_person
from locations.services import Receipt


def submit(pings: Sequence[Ping], caller: Caller) -> Receipt:
    """Hands in what the caller may send; a ping of somebody else is refused like one of nobody."""
    mine = [index for index, ping in enumerate(pings) if caller.speaks_for(ping.person_id)]
    if len(mine) == len(pings):
        return neighbours.pings().submit(pings)
    receipt: Receipt = neighbours.pings().submit([pings[index] for index in mine])
    refused = [replace(refusal, index=mine[refusal.index]) for refusal in receipt.refused]
    others = set(range(len(pings))) - set(mine)
    refused += [unknown_person(index, pings[index].person_id) for index in others]
    return Receipt(receipt.stored, sorted(refused, key=attrgetter("index")))
