"""The reader with a person's own token: their positions, and their encounters as the question answers them.

An event of the topic only says when to ask. A forged ping therefore tells a person nothing more than the
question about their encounters would.
"""

import logging
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.exceptions import PermissionDenied

from connect import request_context
from connect.errors import NeighbourUnavailable, OutOfBounds, QuestionTooLarge, UnknownPerson
from connect.people_cache import PeopleCache
from connect.stale_cache import fetch
from connections import services
from connections.encounter_form import to_wire
from encounters.live.events import Meeting, Positions
from encounters.live.hub import ASK_EVERY_S, Pace
from encounters.live.readers import AT_MOST, Reader, Subscription, Write
from locations import limits

SHORTEST_S = limits.MIN_DURATION.default_for(is_person=True) or 0.0  # the question has no shorter ones
ASK_AGAIN_S = 15.0  # about encounters that go on and are not in the answer yet
TIMEOUT_S = 20.0
MAX_OPEN = 1000  # encounters to ask about; the oldest is forgotten first

logger = logging.getLogger(__name__)

Key = tuple[int, str]  # the other person, and the start


class PersonReader(Reader):
    def __init__(self, subscription: Subscription) -> None:
        super().__init__(subscription)
        assert subscription.caller.person_id is not None  # noqa: S101 - a person's token
        self._person_id: int = subscription.caller.person_id
        self._open: dict[Key, Meeting] = {}  # not in an answer yet
        self._ask_at = float("inf")
        self._pace = Pace()

    def _place(self) -> int:
        is_new = self._next is None
        place = super()._place()
        if is_new and self._subscription.last_ms is not None:
            self._remember_earlier(place)
        return place

    def _remember_earlier(self, place: int) -> None:
        """An encounter that started before the last event may have been too short to be told."""
        ring = self._hub.ring
        for event in ring.after(ring.first, at_most=place - ring.first) or ():
            if isinstance(event, Meeting):
                self._note(event, tells_ended=False)

    async def _send(self, write: Write) -> bool | None:
        self._pace = self._hub.pace(self._person_id)  # kept, so that all readers of the person share it
        place = self._place()
        events = self._hub.ring.after(place, at_most=AT_MOST)
        if events is None:
            return None
        self._next = place + len(events)
        texts = []
        for event in events:
            if isinstance(event, Meeting):
                self._note(event)
            elif isinstance(event, Positions):
                texts.append(event.own_text(self._person_id, self._subscription.wanted))
        if text := b"".join(texts):
            await write(text)
        if time.monotonic() >= self._due_at() and not await self._ask(write):
            return None
        return bool(events)

    def _note(self, event: Meeting, *, tells_ended: bool = True) -> None:
        if self._person_id not in event.person_ids:
            return
        other = event.other(self._person_id)
        if not event.row:  # a tombstone: one of the two was deleted
            for key in [key for key in self._open if key[0] == other]:
                del self._open[key]
            return
        key = other, event.row["start"]
        self._open.pop(key, None)
        if event.state is None or (event.state == "ended" and not tells_ended):
            return
        if event.state == "ended" and event.row["duration_s"] < SHORTEST_S:
            return
        self._open[key] = event
        if len(self._open) > MAX_OPEN:
            del self._open[next(iter(self._open))]
        wait_s = 0.0
        if event.state == "ongoing":
            age_s = (datetime.now(UTC) - event.start).total_seconds()
            wait_s = max(0.0, SHORTEST_S - age_s)
        self._ask_at = min(self._ask_at, time.monotonic() + wait_s)

    def _due_at(self) -> float:
        return max(self._ask_at, self._pace.next_at) if self._open else float("inf")

    async def _ask(self, write: Write) -> bool:
        """Asks one question about all open encounters. False if the person no longer exists."""
        now = time.monotonic()
        self._pace.next_at = now + ASK_EVERY_S
        self._ask_at = now + ASK_AGAIN_S
        asked = dict(self._open)
        try:
            rows = await self._hub.questions.run(lambda: self._answer(list(asked.values())))
        except NeighbourUnavailable:
            return True
        except UnknownPerson:
            return False
        except (QuestionTooLarge, OutOfBounds, PermissionDenied) as error:
            logger.warning("The question of a live reader was refused: %s", error)
            self._open = {}
            return True
        texts = []
        for key, event in asked.items():
            found = [row for row in rows if row[0].person_id == key[0] and _is_of(row[0], event)]
            if found or event.state == "ended":
                self._open.pop(key, None)
            for encounter, wire in found[-1:]:  # an id is sent once
                own = (encounter.person_id, self._person_id)
                if self._subscription.wanted.wants(own, encounter.latitude, encounter.longitude):
                    texts.append(event.encoded(wire))
        if text := b"".join(texts):
            await write(text)
        return True

    def _answer(self, events: list[Meeting]) -> list[tuple[Any, dict[str, Any]]]:
        """What the question answers about the time of these encounters, with the form of its answer."""
        caller = self._subscription.caller
        # The pings of the pairs are up to `within` before the start and after the end.
        margin = timedelta(seconds=limits.WITHIN_S)
        start = min(event.start for event in events) - margin
        end = max(event.end for event in events) + margin + timedelta(microseconds=1)
        if any(event.state == "ongoing" for event in events):
            end = max(end, datetime.now(UTC))
        with request_context.call_context(None, TIMEOUT_S):
            request_context.set_share(caller.share)
            rows = fetch(
                lambda: list(services.encounters(caller, person_id=self._person_id, start=start, end=end))
            )
            people = PeopleCache().load(rows)
        return [(row, to_wire(row, person)) for row in rows if (person := people[row.person_id])]


def _is_of(encounter: Any, event: Meeting) -> bool:
    """Whether a row of the answer is a part of the encounter of the event."""
    ends = encounter.start <= event.end if event.state == "ended" else True
    return bool(ends and encounter.end >= event.start)
