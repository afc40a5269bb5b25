"""All data about a person as a zip archive, generated while it is read.

The REST path, the admin site and `manage.py export_person` give the same files. MEMBERS lists them.
"""

import base64
import csv
import io
import json
import zipfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from django.contrib.admin.models import LogEntry
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Q
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError

from access import services as access
from access.models import Question, SignInCode, Token
from connect import neighbours
from connect.wire_format import format_time
from consumers.models import RejectedPing
from encounters.models import Encounter
from grpc_server import locations_pb2 as pb
from locations.pings import FIELDS
from persons import services as persons
from persons.models import Person
from phones.models import RefusedPoints
from privacy.models import ErasureReceipt
from webhooks.models import Delivery

CHUNK = 64 * 1024  # bytes of the archive per chunk, at least
BLOCK = 1000  # lines compressed at a time

README = """All data that Connect has about person {person_id}.

person.json           the names, and whether others may find this person
locations.csv         every stored ping, exactly; `manage.py import_locations locations.csv` can read it
encounters.jsonl      the stored encounters with others: start, end, the number of this person's pings, the
                      shortest distance, and this person's position at it
deliveries.jsonl      what webhooks were told, or are to be told, about this person's encounters: the host of
                      the receiver, the event, its time and the outcome
rejected_pings.jsonl  pings that could not be stored: reason, time, the original bytes (Base64) and, if they
                      can be decoded, their content
tokens.jsonl          the tokens of this person, without their secrets
sign_in_links.jsonl   the sign-in links of this person, without their secrets
refused_points.jsonl  how many points of this person's phones were refused, by day, app and reason
questions.jsonl       questions about this person: caller, time, range and outcome; `people` is the number of
                      people asked about. For more than 500 people only the lowest and the highest id are
                      stored; such a question is listed if this person's id is in that range
admin_log.jsonl       changes of this person by staff in the admin site
erasures.jsonl        receipts of earlier erasures of this id

All times are UTC. Positions are WGS84 degrees.

The other people of the encounters are not named here: who may know them is a matter of access. Ask the API:

  /api/persons/{person_id}/encounters?start_date=YYYY-MM-DD&end_date=YYYY-MM-DD

Not included: pings that are not stored yet (for a few seconds), logs and backups.
"""


def stream(person_id: int) -> Generator[bytes, None, None] | None:
    """The archive in chunks, in constant memory; None if there is no such person."""
    person = persons.get_many([person_id]).get(person_id)
    return _zipped(person_id) if person else None


def _zipped(person_id: int) -> Generator[bytes, None, None]:
    buffer = _Buffer()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, lines in MEMBERS.items():
            with archive.open(name, "w", force_zip64=True) as member:
                remaining = lines(person_id)
                while block := list(islice(remaining, BLOCK)):
                    member.write("".join(block).encode())
                    if buffer.size >= CHUNK:
                        yield buffer.take()
    yield buffer.take()


class _Buffer:
    """A file object without seek for ZipFile. `take` empties it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.size = 0

    def write(self, part: Any) -> int:
        self._parts.append(bytes(part))
        self.size += len(part)
        return len(part)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts, self.size = [], 0
        return taken


# --- the files -----------------------------------------------------------------------------------


def _person(person_id: int) -> Iterator[str]:
    fields = Person.objects.filter(id=person_id).values(*persons.FIELDS, "findable", "decided_at")
    yield from (
        f"{json.dumps(each, indent=2, ensure_ascii=False, cls=DjangoJSONEncoder)}\n" for each in fields
    )


def _locations(person_id: int) -> Iterator[str]:
    line = io.StringIO()
    write = csv.writer(line, lineterminator="\n").writerow
    write(FIELDS)
    for ping in neighbours.locations().list_between(person_id=person_id):
        values = (getattr(ping, name) for name in FIELDS)
        # The writer uses repr() of a double, which is exact, and nothing for None.
        write([format_time(each) if isinstance(each, datetime) else each for each in values])
        yield line.getvalue()
        line.seek(0)
        line.truncate()
    yield line.getvalue()


def _encounters(person_id: int) -> Iterator[str]:
    """Without the other people, of whom an own token must not learn by forged pings."""
    met = Encounter.objects.filter(Q(person_a_id=person_id) | Q(person_b_id=person_id)).order_by("pk")
    for each in met.iterator(chunk_size=BLOCK):
        own = "a" if each.person_a_id == person_id else "b"
        yield from _lines(
            [
                {
                    "start": each.start,
                    "end": each.end,
                    "pings": getattr(each, f"pings_{own}"),
                    "min_distance_m": each.min_distance_m,
                    "latitude": getattr(each, f"latitude_{own}"),
                    "longitude": getattr(each, f"longitude_{own}"),
                }
            ]
        )


def _deliveries(person_id: int) -> Iterator[str]:
    """Without the content, which is that of an encounter and has the other person's position or pings.

    Also without the message id, from which the other person could be computed, and without the path of the
    address, which is a secret of some receivers.
    """
    found = Delivery.objects.filter(Q(person_a_id=person_id) | Q(person_b_id=person_id)).order_by("id")
    names = ("event", "occurred", "state", "attempts", "finished")
    return _lines(
        {"receiver": urlsplit(each.pop("webhook__url")).hostname} | each
        for each in found.values("webhook__url", *names).iterator(chunk_size=BLOCK)
    )


def _rejected_pings(person_id: int) -> Iterator[str]:
    found = RejectedPing.objects.filter(person_id=person_id).order_by("id")
    return _lines(
        {
            "reason": each.reason,
            "rejected_at": each.rejected_at,
            "sent": each.sent,
            "partition": each.partition,
            "offset": each.offset,
            "key": _base64(each.key),
            "value": _base64(each.value),
            "read_as": _decode(each.value),
        }
        for each in found.iterator(chunk_size=BLOCK)
    )


def _admin_log(person_id: int) -> Iterator[str]:
    kind = {"content_type__app_label": "persons", "content_type__model": "person"}
    found = LogEntry.objects.filter(**kind, object_id=str(person_id)).order_by("id")
    return _lines(
        {"time": each.action_time, "name": each.object_repr, "what": each.get_change_message()}
        for each in found.iterator(chunk_size=BLOCK)
    )


def _tokens(person_id: int) -> Iterator[str]:
    found = Token.objects.filter(first_person_id=person_id, last_person_id=person_id).order_by("created")
    names = ("prefix", "name", "kind", "created", "expiry_date", "last_used", "revoked")
    return _lines(found.values(*names).iterator(chunk_size=BLOCK))


def _sign_in_links(person_id: int) -> Iterator[str]:
    found = SignInCode.objects.filter(person_id=person_id).order_by("created")
    names = ("prefix", "name", "created", "expiry_date", "used_at", "revoked")
    return _lines(found.values(*names).iterator(chunk_size=BLOCK))


def _refused_points(person_id: int) -> Iterator[str]:
    found = RefusedPoints.objects.filter(person_id=person_id).order_by("day", "id")
    return _lines(found.values("day", "app", "reason", "count", "last_at").iterator(chunk_size=BLOCK))


def _questions(person_id: int) -> Iterator[str]:
    found = Question.objects.filter(access.may_be_about(person_id)).order_by("at", "id")
    names = ("at", "kind", "caller", "what", "people", "range_start", "range_end", "outcome")
    return _lines(found.values(*names).iterator(chunk_size=BLOCK))


def _erasures(person_id: int) -> Iterator[str]:
    found = ErasureReceipt.objects.filter(person_id=person_id).order_by("id")
    return _lines(each.as_json() for each in found.iterator(chunk_size=BLOCK))


def _readme(person_id: int) -> Iterator[str]:
    yield README.format(person_id=person_id)


MEMBERS: Mapping[str, Callable[[int], Iterator[str]]] = {
    "person.json": _person,
    "locations.csv": _locations,
    "encounters.jsonl": _encounters,
    "deliveries.jsonl": _deliveries,
    "rejected_pings.jsonl": _rejected_pings,
    "tokens.jsonl": _tokens,
    "sign_in_links.jsonl": _sign_in_links,
    "refused_points.jsonl": _refused_points,
    "questions.jsonl": _questions,
    "admin_log.jsonl": _admin_log,
    "erasures.jsonl": _erasures,
    "README.txt": _readme,
}


def _lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    return (f"{json.dumps(row, ensure_ascii=False, cls=DjangoJSONEncoder)}\n" for row in rows)


def _base64(column: bytes | memoryview | None) -> str | None:
    return None if column is None else base64.b64encode(column).decode()


def _decode(column: bytes | memoryview | None) -> dict[str, Any] | None:
    """The location in the bytes; None if they are not a location."""
    try:
        return MessageToDict(pb.Location.FromString(bytes(column or b"")), preserving_proto_field_name=True)
    except (DecodeError, ValueError):
        return None
