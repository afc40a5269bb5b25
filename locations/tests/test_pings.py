"""The validation rules of a ping, and its id."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locations import pings
from locations.pings import NOT_NULL, REQUIRED, Ping, Refusal, Refused

GOOD = {
    "person_id": 5,
    "latitude": "37.553441",
    "longitude": "-122.290524",
    "creation_time": "2020-08-18T10:37:06",
}
MORNING = datetime(2020, 8, 18, 10, 37, 6, tzinfo=UTC)
TIMES = st.datetimes(datetime(1900, 1, 1), datetime(2099, 12, 31, 23, 59, 59, 999999), timezones=st.just(UTC))  # noqa: DTZ001


def faults(fields: Any, **how: Any) -> dict[str, list[str]]:
    with pytest.raises(Refused) as refused:
        pings.parse(fields, **how)
    return refused.value.errors


def test_a_valid_ping_is_parsed_as_sent() -> None:
    assert pings.parse(GOOD) == Ping(5, MORNING, 37.553441, -122.290524)


@pytest.mark.parametrize(
    ("value", "degrees"),
    [
        ("37.5", 37.5),
        (37.5, 37.5),
        (37, 37.0),
        ("37", 37.0),
        ("+37.5", 37.5),
        ("-.5", -0.5),
        ("37.", 37.0),
        (" 37.5 ", 37.5),
        ("3.75e1", 37.5),
        (0, 0.0),
        ("0.1234567890123456789", 0.12345678901234568),
        ("1e-9999", 0.0),
        (90, 90.0),
        ("-90.0", -90.0),
        ("90.000000000000000000001", 90.0),
    ],
)
def test_degrees_are_strings_or_numbers_with_any_number_of_decimals(value: Any, degrees: float) -> None:
    assert pings.parse(GOOD | {"latitude": value}).latitude == degrees
    assert pings.parse(GOOD | {"longitude": value}).longitude == degrees


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "north",
        "37,5",
        "37.5N",
        "1_0",
        "0x10",
        "٣٧",
        "nan",
        "NaN",
        "inf",
        "-Infinity",
        "1e400",
        "--1",
        "1 2",
        "1e",
        ".",
        "37.5\x00",
        True,
        False,
        [37.5],
        {"value": 37.5},
        float("nan"),
        float("inf"),
        -float("inf"),
        10**400,
        1e300,
        "9" * 5000,
    ],
    ids=lambda value: repr(value)[:20] if not isinstance(value, int) else f"int {value.bit_length()} bits",
)
@pytest.mark.parametrize(("field", "limit"), [("latitude", 90), ("longitude", 180)])
def test_invalid_degrees_are_refused(field: str, limit: int, value: Any) -> None:
    assert faults(GOOD | {field: value}) == {field: [f"Must be a number from -{limit} to {limit}."]}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("latitude", 91),
        ("latitude", -91),
        ("latitude", "90.0000001"),
        ("longitude", -181),
        ("longitude", 181),
        ("longitude", "180.0000001"),
    ],
)
def test_degrees_out_of_range_are_refused(field: str, value: Any) -> None:
    assert list(faults(GOOD | {field: value})) == [field]


@pytest.mark.parametrize(("latitude", "longitude"), [(90, 180), (-90, -180), (0, 0), (-0.0, -0.0)])
def test_the_limits_of_the_degrees_are_accepted(latitude: float, longitude: float) -> None:
    ping = pings.parse(GOOD | {"latitude": latitude, "longitude": longitude})
    assert (ping.latitude, ping.longitude) == (latitude, longitude)


TINY = [1e-9, 9.99e-10, 1e-10, 1e-155, 1e-300, 2.2250738585072014e-308, 1e-320, 5e-324, 0.0, -0.0]


@pytest.mark.parametrize("size", TINY)
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("form", [float, str, "{:.330f}".format])
def test_a_coordinate_of_less_than_a_billionth_of_a_degree_is_zero(size: float, sign: int, form: Any) -> None:
    sent = GOOD | {"creation_time": "2020-08-18T10:37:06Z"}
    expected = sign * size if size >= 1e-9 else 0.0
    for field in ("latitude", "longitude"):
        fields = sent | {field: form(sign * size)}
        for ping in (pings.parse(fields), pings.parse_fast(fields) or pings.parse(fields)):
            degrees = getattr(ping, field)
            assert degrees == expected
            assert expected or math.copysign(1, degrees) == 1
            assert pings.is_valid(ping)
    assert pings.is_valid(Ping(5, MORNING, size, 0.1)) == (size in (0, 1e-9))


@pytest.mark.parametrize(
    ("value", "person_id"), [(5, 5), ("5", 5), (" 5", 5), ("+5", 5), (0, 0), (-1, -1), (2**63, 2**63)]
)
def test_a_person_id_is_any_integer(value: Any, person_id: int) -> None:
    assert pings.parse(GOOD | {"person_id": value}).person_id == person_id


@pytest.mark.parametrize(
    "value", [5.0, "5.0", "five", "", True, [5], {"id": 5}, "5e0", "٥", "9" * 41, 1e30, "5\0"]
)
def test_an_invalid_person_id_is_refused(value: Any) -> None:
    assert faults(GOOD | {"person_id": value}) == {"person_id": ["Must be the integer id of a person."]}


@pytest.mark.parametrize("text", ["1900-01-01T00:00:00Z", "2099-12-31T23:59:59.999999999Z"])
def test_times_from_1900_to_before_2100_are_accepted(text: str) -> None:
    assert pings.parse(GOOD | {"creation_time": text}).creation_time.year in (1900, 2099)


@pytest.mark.parametrize(
    "text",
    [
        "1899-12-31T23:59:59.999999Z",
        "1900-01-01T00:00:00+00:01",
        "2100-01-01T00:00:00Z",
        "2099-12-31T23:59:59-00:01",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
    ],
)
def test_earlier_and_later_times_are_refused(text: str) -> None:
    allowed = "Must be from 1900-01-01 to before 2100-01-01."
    assert faults(GOOD | {"creation_time": text}) == {"creation_time": [allowed]}


@pytest.mark.parametrize("field", GOOD)
def test_null_is_refused(field: str) -> None:
    assert faults(GOOD | {field: None}) == {field: [NOT_NULL]}
    assert faults(GOOD | {field: None}, now=MORNING) == {field: [NOT_NULL]}


@pytest.mark.parametrize("field", GOOD)
def test_every_field_is_required(field: str) -> None:
    assert faults({name: value for name, value in GOOD.items() if name != field}) == {field: [REQUIRED]}


def test_now_is_the_default_of_a_missing_time_only() -> None:
    timeless = {name: value for name, value in GOOD.items() if name != "creation_time"}
    now = MORNING + timedelta(days=1)
    assert pings.parse(timeless, now=now).creation_time == now
    assert pings.parse(GOOD, now=now).creation_time == MORNING


def test_unknown_fields_are_named_and_an_id_is_ignored() -> None:
    assert faults(GOOD | {"altitude": 5, "": 1}) == {"altitude": ["Unknown field."], "": ["Unknown field."]}
    assert pings.parse(GOOD | {"id": "6-0"}) == pings.parse(GOOD)


def test_all_errors_are_reported_at_once() -> None:
    assert set(faults({"person_id": "x", "latitude": 91, "longitude": None, "altitude": 1})) == {
        "person_id",
        "latitude",
        "longitude",
        "creation_time",
        "altitude",
    }


@pytest.mark.parametrize("fields", [None, 5, "text", True, [], [GOOD], 1.5])
def test_a_ping_that_is_not_an_object_is_refused(fields: Any) -> None:
    assert list(faults(fields)) == ["non_field_errors"]


def test_a_batch_is_parsed_item_by_item() -> None:
    good, indexes, refusals = pings.parse_batch([GOOD, 5, GOOD | {"latitude": 91}, GOOD])
    assert (good, indexes) == ([pings.parse(GOOD)] * 2, [0, 3])
    assert [(each.index, each.status, list(each.errors)) for each in refusals] == [
        (1, 400, ["non_field_errors"]),
        (2, 400, ["latitude"]),
    ]


def test_an_unknown_person_is_a_404() -> None:
    assert pings.unknown_person(3, 9) == Refusal(3, 404, {"person_id": ["There is no person 9."]})


# --- identifiers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("person_id", "moment", "identifier"),
    [
        (5, MORNING, "5-1597747026000000"),
        (5, MORNING.replace(microsecond=1), "5-1597747026000001"),
        (1, datetime(1970, 1, 1, tzinfo=UTC), "1-0"),
        (1, datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), "1--1"),
        (2**63 - 1, datetime(1900, 1, 1, tzinfo=UTC), "9223372036854775807--2208988800000000"),
    ],
)
def test_an_id_is_the_person_and_the_microseconds_since_1970(
    person_id: int, moment: datetime, identifier: str
) -> None:
    assert pings.make_id(person_id, moment) == identifier
    assert pings.parse_id(identifier) == (person_id, moment)


@given(st.integers(1, 2**63 - 1), TIMES)
def test_make_id_and_parse_id_are_inverse(person_id: int, moment: datetime) -> None:
    assert pings.parse_id(pings.make_id(person_id, moment)) == (person_id, moment)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "5",
        "5-",
        "-5",
        "5-x",
        "x-5",
        "5-1-1",
        "05-1",
        "5-01",
        "5-+1",
        "5--0",
        " 5-1",
        "5-1 ",
        "5_1",
        "٥-1",
        "5-99999999999999999999",
        "5--99999999999999999",
        "5-1\n",
        "5-1\x00",
        "99999999999999999999-1",
    ],
)
def test_an_invalid_id_is_none(text: str) -> None:
    assert pings.parse_id(text) is None
