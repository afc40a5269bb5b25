"""gRPC inputs: a method, the bytes of its message, and a token, made from a seed and a number."""

from dataclasses import dataclass, replace
from random import Random

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from grpc_server import locations_pb2 as pb
from tests.fuzz.requests import Vocabulary
from tests.fuzz.values import double, integer, text

SERVICE = "/connect.locations.v1.LocationService/"
METHODS: dict[str, type[Message]] = {
    "RecordLocation": pb.Location,
    "RecordLocations": pb.RecordLocationsRequest,
    "GetLocation": pb.GetLocationRequest,
    "ListLocations": pb.ListLocationsRequest,
    "FindConnections": pb.FindConnectionsRequest,
    "FindEncounters": pb.FindEncountersRequest,
    "ListDays": pb.ListDaysRequest,
    "ListPositions": pb.ListPositionsRequest,
    "ListHeat": pb.ListHeatRequest,
    "ListVisits": pb.ListVisitsRequest,
}
POLYGON = bytes.fromhex(  # the WKB of a polygon: 13 to 14 degrees east, 52 to 53 north
    "01030000000100000005000000"
    "0000000000002a400000000000004a400000000000002c400000000000004a400000000000002c400000000000804a40"
    "0000000000002a400000000000804a400000000000002a400000000000004a40"
)
DAY_S = 1778457600  # 2026-05-11
SECONDS = (
    DAY_S,
    DAY_S + 36_000,
    DAY_S + 86_400,
    0,
    -1,
    -(2**63),
    2**63 - 1,
    253_402_300_800,
    -62_135_596_801,
)
NANOS = (0, 1, 999_999_999, 10**9, -1, 2**31 - 1, -(2**31))


@dataclass(frozen=True)
class Call:
    """What is sent, and with what metadata."""

    method: str
    messages: tuple[bytes, ...]
    token: str | None

    def described(self) -> str:
        """A line that repeats the call, as far as one line can."""
        shown = [" ".join(f"{self.read(one)}".split()) for one in self.messages]
        return f"{SERVICE}{self.method} {[one.hex() for one in self.messages]} {shown}"

    def read(self, message: bytes) -> Message | None:
        """None where it is not meant to be readable."""
        try:
            return METHODS.get(self.method, pb.Location).FromString(message)
        except DecodeError:
            return None

    def smaller(self) -> list["Call"]:
        """The same with a field less, for the smallest one that still fails."""
        found = []
        for place, message in enumerate(self.messages):
            rest = self.messages[:place], self.messages[place + 1 :]
            if len(self.messages) > 1:
                found.append(replace(self, messages=(*rest[0], *rest[1])))
            read = self.read(message)
            for field, value in [] if read is None else read.ListFields():
                less: Message = type(read)()
                less.CopyFrom(read)
                if field.is_repeated and len(value) > 1:
                    del getattr(less, field.name)[len(value) // 2 :]
                else:
                    less.ClearField(field.name)
                found.append(replace(self, messages=(*rest[0], less.SerializeToString(), *rest[1])))
        return found


def make(seed: int, index: int, words: Vocabulary) -> Call:
    chance = Random(f"grpc {seed}:{index}")
    method = chance.choice([*METHODS] if chance.random() < 0.97 else ["Nothing", ""])
    count = chance.choice((1, 1, 2, 3)) if method == "RecordLocations" else 1
    messages = tuple(a_message(chance, METHODS.get(method, pb.Location), words) for _ in range(count))
    token = chance.choice(words.tokens) if chance.random() < 0.9 else chance.choice((None, "", "x" * 5000))
    return Call(method, messages, token)


def a_message(chance: Random, kind: type[Message], words: Vocabulary) -> bytes:
    filled = fill(chance, kind(), words).SerializeToString()
    if chance.random() < 0.15:
        return chance.choice(MUTATIONS)(chance, filled)
    return filled


def fill(chance: Random, message: Message, words: Vocabulary) -> Message:
    """Each field with some value, the good ones more often; now and then none."""
    descriptor: Descriptor = message.DESCRIPTOR
    if descriptor.full_name == "google.protobuf.Timestamp":
        message.seconds = chance.choice(SECONDS[:3] if chance.random() < 0.7 else SECONDS)
        message.nanos = chance.choice(NANOS[:3] if chance.random() < 0.8 else NANOS)
        return message
    for field in descriptor.fields:
        if chance.random() < 0.15:
            continue
        if field.is_repeated:
            for _ in range(chance.choice((0, 1, 2, 50))):
                fill(chance, getattr(message, field.name).add(), words)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            getattr(message, field.name).SetInParent()
            fill(chance, getattr(message, field.name), words)
        elif field.type == FieldDescriptor.TYPE_BYTES:
            mutation = chance.choice(MUTATIONS)
            setattr(message, field.name, POLYGON if chance.random() < 0.5 else mutation(chance, POLYGON))
        else:
            setattr(message, field.name, scalar(chance, field, words))
    return message


def scalar(chance: Random, field: FieldDescriptor, words: Vocabulary) -> object:
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return chance.uniform(-80, 80) if chance.random() < 0.5 else double(chance)
    if field.type == FieldDescriptor.TYPE_FLOAT:
        return chance.choice((0.0, -1.0, 5.0, 1e-45, 3e38, float("nan"), float("inf")))
    if field.type == FieldDescriptor.TYPE_STRING:
        valid = text(chance).encode("utf-8", "ignore").decode()
        return chance.choice((f"{chance.choice(words.ids)}-1778493600000000", "Europe/Berlin", valid))
    if field.type == FieldDescriptor.TYPE_BOOL:
        return chance.random() < 0.5
    if field.type in (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_ENUM):
        return chance.choice((1, 100, 10_000, 0, -1, 10_001, 2**31 - 1, -(2**31)))
    return integer(chance, words.ids)


def flipped(chance: Random, sent: bytes) -> bytes:
    place = chance.randrange(len(sent) + 1)
    return sent[:place] + chance.randbytes(1) + sent[place + 1 :]


def unknown_field(chance: Random, sent: bytes) -> bytes:
    return sent + b"\xfa\x3f\x04" + chance.randbytes(4)


def cut(chance: Random, sent: bytes) -> bytes:
    return sent[: chance.randrange(len(sent) + 1)]


def noise(chance: Random, _: bytes) -> bytes:
    return chance.randbytes(chance.randrange(200))


def groups(chance: Random, _: bytes) -> bytes:
    """Groups in groups, or empty messages one after the other."""
    return chance.choice((b"\x0a", b"\x0b")) * chance.choice((10, 10_000))


MUTATIONS = (flipped, unknown_field, cut, noise, groups)
