"""Each rpc over TCP: its answers, and the status of bad requests."""

import struct
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from grpc_server import locations_pb2 as pb
from grpc_server.converter import from_timestamp, to_timestamp
from grpc_server.locations_pb2_grpc import LocationServiceStub
from grpc_server.server import SERVICE
from grpc_server.tests.conftest import NOON, TIMEOUT, batch, failure, location
from locations import storage
from locations.limits import MAX_AREA_POINTS
from locations.tests.test_presence import polygon

RANGE = {"start": to_timestamp(NOON), "end": to_timestamp(NOON + timedelta(days=1))}
REVERSED_RANGE = {"start": RANGE["end"], "end": RANGE["start"]}
NAN, INFINITE = float("nan"), float("inf")


def with_fields(**fields: Any) -> pb.Location:
    """A valid ping with these fields changed; None leaves a field out."""
    good: dict[str, Any] = {"person_id": 1, "latitude": 1, "longitude": 2, "creation_time": Timestamp()}
    return pb.Location(**{name: value for name, value in (good | fields).items() if value is not None})


BAD_FIELDS = [
    ({"person_id": None}, "person_id", "required"),
    ({"latitude": None}, "latitude", "required"),
    ({"longitude": None}, "longitude", "required"),
    ({"latitude": 90.00000000000001}, "latitude", "from -90 to 90"),
    ({"latitude": NAN}, "latitude", "from -90 to 90"),
    ({"longitude": -180.00000000000003}, "longitude", "from -180 to 180"),
    ({"longitude": INFINITE}, "longitude", "from -180 to 180"),
    ({"creation_time": Timestamp(nanos=-1)}, "creation_time", "nanos"),
    ({"creation_time": Timestamp(nanos=1_000_000_000)}, "creation_time", "nanos"),
    ({"creation_time": Timestamp(seconds=2**62)}, "creation_time", "year 1"),
    ({"creation_time": Timestamp(seconds=-(2**63))}, "creation_time", "year 1"),
    ({"creation_time": Timestamp(seconds=-2_208_988_801)}, "creation_time", "1900-01-01"),
    ({"creation_time": Timestamp(seconds=4_102_444_800)}, "creation_time", "2100-01-01"),
]


# --- RecordLocation ------------------------------------------------------------------------------


def test_a_ping_is_stored_and_returned_with_its_id(people: None, stub: LocationServiceStub):
    sent = location(5, latitude=37.553441000000001)

    recorded = stub.RecordLocation(sent, **TIMEOUT)

    assert recorded.id == f"5-{int(NOON.timestamp())}000000"
    sent.id = recorded.id
    assert recorded == sent == stub.GetLocation(pb.GetLocationRequest(id=recorded.id), **TIMEOUT)


def test_a_repeat_is_accepted_and_nanoseconds_are_truncated(people: None, stub: LocationServiceStub):
    first, repeat = location(), location(latitude=9)
    repeat.creation_time.nanos = 999
    repeat.id = "ignored"

    ids = {stub.RecordLocation(each, **TIMEOUT).id for each in (first, repeat)}

    (only,) = ids
    assert stub.GetLocation(pb.GetLocationRequest(id=only), **TIMEOUT).latitude == 1.0


def test_a_single_ping_without_a_time_gets_the_current_time(people: None, stub: LocationServiceStub):
    before = datetime.now(UTC)

    recorded = stub.RecordLocation(with_fields(creation_time=None), **TIMEOUT)

    assert before <= from_timestamp(recorded.creation_time) <= datetime.now(UTC)


@pytest.mark.parametrize(("fields", "name", "reason"), BAD_FIELDS)
def test_a_bad_ping_is_an_invalid_argument_that_names_the_field(
    stub: LocationServiceStub, fields: dict[str, Any], name: str, reason: str
):
    error = failure(lambda: stub.RecordLocation(with_fields(**fields), **TIMEOUT))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details().startswith(f"{name}: ")
    assert reason in error.details()


@pytest.mark.parametrize("unknown", [0, -1, 77, 2**63 - 1, -(2**63)])
def test_a_ping_of_an_unknown_person_is_not_found(people: None, stub: LocationServiceStub, unknown: int):
    error = failure(lambda: stub.RecordLocation(location(unknown), **TIMEOUT))

    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, f"There is no person {unknown}.")


# --- RecordLocations -----------------------------------------------------------------------------


def test_batches_are_answered_in_order_once_stored(people: None, stub: LocationServiceStub):
    sizes = [1, 500, 3, 10_000, 2]
    place = 0

    def batches():
        nonlocal place
        for size in sizes:
            yield batch(*(location(1, place + n) for n in range(size)))
            place += size

    for answer, size in zip(stub.RecordLocations(batches(), **TIMEOUT), sizes, strict=True):
        assert (answer.accepted, answer.stored, list(answer.refused)) == (size, size, [])
    assert len(list(storage.list_between(person_id=1))) == sum(sizes)


def test_each_batch_is_answered_before_the_next_one(people: None, stub: LocationServiceStub):
    answered: list[int] = []

    def batches():
        for n in range(3):
            assert len(answered) == n
            yield batch(location(1, n))
            while len(answered) == n:  # the call's deadline bounds this loop
                pass

    for answer in stub.RecordLocations(batches(), **TIMEOUT):
        assert storage.get(1, NOON + timedelta(seconds=len(answered))) is not None
        answered.append(answer.accepted)
    assert answered == [1, 1, 1]


def test_refused_pings_have_index_field_and_reason_and_the_others_are_stored(
    people: None, stub: LocationServiceStub
):
    sent = [location(1, 0), with_fields(latitude=91, longitude=NAN), location(77), with_fields(), location(0)]
    sent.append(with_fields(creation_time=None))

    (answer,) = stub.RecordLocations(iter([batch(*sent)]), **TIMEOUT)

    assert (answer.accepted, answer.stored) == (2, 2)
    assert [(refusal.index, refusal.code) for refusal in answer.refused] == [(1, 3), (2, 5), (4, 5), (5, 3)]
    assert [(fault.field, fault.reason) for refusal in answer.refused for fault in refusal.faults] == [
        ("latitude", "Must be a number from -90 to 90."),
        ("longitude", "Must be a number from -180 to 180."),
        ("person_id", "There is no person 77."),
        ("person_id", "There is no person 0."),
        ("creation_time", "This field is required."),
    ]


@pytest.mark.parametrize(("fields", "name", "reason"), BAD_FIELDS)
def test_a_batch_has_the_rules_of_a_single_ping(
    stub: LocationServiceStub, fields: dict[str, Any], name: str, reason: str
):
    (answer,) = stub.RecordLocations(iter([batch(with_fields(**fields))]), **TIMEOUT)

    (refusal,) = answer.refused
    assert (refusal.index, refusal.faults[0].field) == (0, name)
    assert reason in refusal.faults[0].reason


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (batch(), grpc.StatusCode.INVALID_ARGUMENT),
        (batch(*[location()] * 10_001), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (batch(pb.Location(id="x" * 5_300_000)), grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
    ids=["empty", "too many", "too long"],
)
def test_a_batch_out_of_bounds_ends_the_stream_after_earlier_answers(
    people: None, stub: LocationServiceStub, bad: pb.RecordLocationsRequest, code: grpc.StatusCode
):
    answers = stub.RecordLocations(iter([batch(location()), bad]), **TIMEOUT)

    assert next(answers).accepted == 1
    assert failure(lambda: next(answers)).code() is code


# --- GetLocation and the streams -----------------------------------------------------------------


@pytest.mark.parametrize("identifier", ["", "5", "5-1 ", "x", "05-1", f"{2**63}-1", "5-" + "9" * 17, "5-1"])
def test_an_unknown_location_is_not_found(stub: LocationServiceStub, identifier: str):
    error = failure(lambda: stub.GetLocation(pb.GetLocationRequest(id=identifier), **TIMEOUT))

    assert error.code() is grpc.StatusCode.NOT_FOUND


REQUESTS: dict[str, Any] = {
    "ListLocations": pb.ListLocationsRequest,
    "FindConnections": pb.FindConnectionsRequest,
    "FindEncounters": pb.FindEncountersRequest,
    "ListDays": pb.ListDaysRequest,
    "ListPositions": pb.ListPositionsRequest,
    "ListHeat": pb.ListHeatRequest,
    "ListVisits": pb.ListVisitsRequest,
}
SQUARE = polygon([[(1, 0), (3, 0), (3, 1), (1, 1)]])
VISITS = RANGE | {"areas": [pb.Area(id=1, polygon=SQUARE)]}
BAD_POLYGONS = [
    b"",
    SQUARE[:-1],
    b"POLYGON((0 0, 1 0, 1 1, 0 0))",
    struct.pack("<BIdd", 1, 1, 0, 0),  # a point
    polygon([]),
    polygon([[(0, 0), (1, 1), (1, 0), (0, 1)]]),  # crosses itself
    polygon([[(0, 0), (1, 0), (NAN, 1)]]),
    polygon([[(0, 0), (181, 0), (1, 1)]]),
    polygon([[(0, 0), (1, 0), (1, -90.1)]]),
]
RANGE_OF_PERSON_1 = RANGE | {"person_id": 1}


@pytest.mark.parametrize(
    ("method", "fields", "name"),
    [
        ("ListLocations", {}, "person_id"),
        ("ListLocations", {"start": RANGE["start"]}, "person_id"),
        ("ListLocations", REVERSED_RANGE, "start"),
        ("ListLocations", {"limit": 0}, "limit"),
        ("ListLocations", {"limit": 10_001}, "limit"),
        ("ListLocations", {"limit": -1}, "limit"),
        ("ListLocations", {"limit": 1, "order": 2}, "order"),
        ("ListLocations", {"limit": 1, "start": Timestamp(nanos=-1)}, "start"),
        ("ListLocations", {"limit": 1, "bounds": pb.Bounds(west=1, east=1, south=1)}, "bounds.north"),
        (
            "ListLocations",
            {"limit": 1, "bounds": pb.Bounds(west=181, east=1, south=1, north=1)},
            "bounds.west",
        ),
        ("ListLocations", {"limit": 1, "bounds": pb.Bounds(west=1, east=1, south=2, north=1)}, "bounds"),
        ("ListLocations", {"limit": 1, "after": pb.LocationKey(person_id=1)}, "after.creation_time"),
        ("FindConnections", RANGE, "person_id"),
        ("FindConnections", {"person_id": 1, "end": RANGE["end"]}, "start"),
        ("FindConnections", REVERSED_RANGE | {"person_id": 1}, "start"),
        *[
            ("FindConnections", RANGE_OF_PERSON_1 | {"distance_m": bad}, "distance_m")
            for bad in (0, -1, 10_000.1, NAN)
        ],
        *[
            ("FindConnections", RANGE_OF_PERSON_1 | {"within_s": bad}, "within_s")
            for bad in (-0.1, 3600.1, NAN, INFINITE)
        ],
        ("FindConnections", RANGE_OF_PERSON_1 | {"limit": 10_001}, "limit"),
        ("FindEncounters", {"person_id": 1, "start": RANGE["start"]}, "end"),
        *[
            ("FindEncounters", RANGE_OF_PERSON_1 | {"max_gap_s": bad}, "max_gap_s")
            for bad in (-1, 86_400.1, NAN)
        ],
        *[
            ("FindEncounters", RANGE_OF_PERSON_1 | {"min_duration_s": bad}, "min_duration_s")
            for bad in (-1, NAN, INFINITE)
        ],
        ("ListDays", {"time_zone": "Berlin"}, "time_zone"),
        ("ListDays", {"time_zone": "right/UTC"}, "time_zone"),
        ("ListPositions", {}, "at"),
        ("ListPositions", {"at": Timestamp(seconds=2**62)}, "at"),
        ("ListPositions", {"at": RANGE["end"], "bounds": pb.Bounds(west=1)}, "bounds.south"),
        *[
            ("ListPositions", {"at": RANGE["end"], "max_age_s": bad}, "max_age_s")
            for bad in (0, -1, 3600.1, NAN)
        ],
        ("ListHeat", {"start": RANGE["start"]}, "end"),
        ("ListHeat", REVERSED_RANGE, "start"),
        ("ListHeat", {"start": RANGE["start"], "end": to_timestamp(NOON + timedelta(31.1))}, "end"),
        *[("ListHeat", RANGE | {"cell_m": bad}, "cell_m") for bad in (0, 0.9, 1000.1, NAN)],
        ("ListVisits", RANGE, "areas"),
        ("ListVisits", RANGE | {"areas": VISITS["areas"] * 2}, "areas"),
        ("ListVisits", {"areas": VISITS["areas"], "start": RANGE["start"]}, "end"),
        *[("ListVisits", VISITS | {"max_gap_s": bad}, "max_gap_s") for bad in (-1, 86_400.1, NAN)],
        *[("ListVisits", VISITS | {"min_duration_s": bad}, "min_duration_s") for bad in (-1, NAN)],
        *[("ListVisits", RANGE | {"areas": [pb.Area(polygon=bad)]}, "areas") for bad in BAD_POLYGONS],
        (
            "FindEncounters",
            RANGE_OF_PERSON_1 | {"after": pb.EncounterKey(start=RANGE["start"], person_id=1)},
            "after.nth",
        ),
    ],
)
def test_a_bad_parameter_is_an_invalid_argument_that_names_the_field(
    stub: LocationServiceStub, method: str, fields: dict[str, Any], name: str
):
    error = failure(lambda: list(getattr(stub, method)(REQUESTS[method](**fields), **TIMEOUT)))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert f"{name}: " in error.details()


def test_the_areas_of_a_question_have_a_maximum_of_points(stub: LocationServiceStub):
    sizes = MAX_AREA_POINTS // 2, MAX_AREA_POINTS // 2 - 1  # and the first point again at the end
    areas = [pb.Area(id=n, polygon=polygon([[(x / n, (x / n) ** 2) for x in range(n)]])) for n in sizes]

    error = failure(lambda: list(stub.ListVisits(pb.ListVisitsRequest(**RANGE, areas=areas), **TIMEOUT)))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "areas: Must have at most 100,000 points together."


@pytest.mark.parametrize("method", ["FindConnections", "FindEncounters"])
def test_a_query_of_an_unknown_person_is_not_found_and_of_a_lone_person_empty(
    people: None, stub: LocationServiceStub, method: str
):
    ask, request = getattr(stub, method), REQUESTS[method]

    for unknown in (0, -1, 77, 2**63 - 1):
        error = failure(lambda unknown=unknown: list(ask(request(**RANGE, person_id=unknown), **TIMEOUT)))
        assert error.code() is grpc.StatusCode.NOT_FOUND
    assert list(ask(request(**RANGE_OF_PERSON_1), **TIMEOUT)) == []


def test_defaults_are_those_of_the_rest_paths(people: None, stub: LocationServiceStub):
    for person_id in (1, 2):
        pings = [location(person_id, second) for second in (0, 75, 151)]
        list(stub.RecordLocations(iter([batch(*pings)]), **TIMEOUT))

    (answer,) = stub.FindEncounters(pb.FindEncountersRequest(**RANGE_OF_PERSON_1), **TIMEOUT)

    assert [(met.duration_s, met.pings) for met in answer.encounters] == [(75.0, 2), (0.0, 1)]
    assert answer.encounters[1].HasField("latitude")


def test_presence_has_the_defaults_of_the_rest_paths(people: None, stub: LocationServiceStub):
    pings = [location(1, second, latitude=0.5) for second in (0, 119.999, 239.999, 360)]
    list(stub.RecordLocations(iter([batch(*pings, location(2, 0, latitude=0.5))]), **TIMEOUT))
    at = to_timestamp(NOON + timedelta(seconds=120))

    (days,) = stub.ListDays(pb.ListDaysRequest(), **TIMEOUT)
    (positions,) = stub.ListPositions(pb.ListPositionsRequest(at=at), **TIMEOUT)
    (heat,) = stub.ListHeat(pb.ListHeatRequest(**RANGE), **TIMEOUT)
    (visits,) = stub.ListVisits(pb.ListVisitsRequest(**VISITS), **TIMEOUT)

    assert [day.day for day in days.days] == [f"{NOON:%Y-%m-%d}"]
    assert [(one.person_id, one.creation_time) for one in positions.locations] == [
        (1, pings[1].creation_time)
    ]
    assert [(cell.person_minutes, cell.people) for cell in heat.cells] == [(5, 2)]
    (area,) = visits.areas
    assert (area.people, area.visits, area.person_seconds) == (1, 1, pytest.approx(239.999))
    assert area.HasField("median_stay_s")
    error = failure(lambda: list(stub.ListDays(pb.ListDaysRequest(person_id=77), **TIMEOUT)))
    assert error.code() is grpc.StatusCode.NOT_FOUND


def test_order_newest_and_look_ahead(people: None, stub: LocationServiceStub):
    for second in range(4):
        stub.RecordLocation(location(second=second))
    newest = pb.ListLocationsRequest.NEWEST

    def seconds(**question: Any) -> list[int]:
        answer = stub.ListLocations(pb.ListLocationsRequest(person_id=1, **question))
        return [each.creation_time.seconds % 60 for batch in answer for each in batch.locations]

    assert seconds() == seconds(limit=4) == seconds(limit=4, look_ahead=True) == [0, 1, 2, 3]
    assert seconds(order=newest) == [3, 2, 1, 0]
    after = pb.LocationKey(creation_time=location(second=2).creation_time, person_id=1)
    assert seconds(order=newest, after=after) == [1, 0]
    assert seconds(order=newest, after=after, limit=1) == [1]
    assert seconds(limit=2, look_ahead=True) == [0, 1, 2]
    assert seconds(look_ahead=True) == [0, 1, 2, 3]


def test_long_answers_come_in_batches(stub: LocationServiceStub, many_locations: int):
    sizes = [
        len(answer.locations)
        for answer in stub.ListLocations(pb.ListLocationsRequest(person_id=1), **TIMEOUT)
    ]

    assert sum(sizes) == many_locations
    assert max(sizes) <= 2000


# --- bad messages and methods, reflection --------------------------------------------------------


@pytest.mark.parametrize("method", ["RecordLocation", "RecordLocations", "ListLocations"])
def test_undecodable_bytes_are_an_invalid_argument(channel: grpc.Channel, method: str):
    raw = channel.unary_unary(f"/{SERVICE}/{method}")

    error = failure(lambda: raw(b"\xff\xff\xff", **TIMEOUT))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_an_unknown_method_is_unimplemented(channel: grpc.Channel):
    error = failure(lambda: channel.unary_unary(f"/{SERVICE}/DeleteLocation")(b"", **TIMEOUT))

    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


def test_reflection_is_enough_to_call(people: None, channel: grpc.Channel):
    found = ProtoReflectionDescriptorDatabase(channel)
    assert set(found.get_services()) >= {SERVICE, "grpc.health.v1.Health"}
    pool = descriptor_pool.DescriptorPool(found)
    method = pool.FindServiceByName(SERVICE).FindMethodByName("RecordLocation")
    request = message_factory.GetMessageClass(method.input_type)
    call = channel.unary_unary(
        f"/{SERVICE}/{method.name}",
        request_serializer=request.SerializeToString,
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )

    recorded = call(request(person_id=1, latitude=1.5, longitude=2.5), **TIMEOUT)

    assert recorded.id.startswith("1-")
    assert (recorded.latitude, recorded.longitude) == (1.5, 2.5)
