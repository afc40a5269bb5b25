"""Parsing of instants, and formatting of times and degrees."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connect.wire_format import format_degrees, format_time, parse_instant

MORNING = datetime(2020, 8, 18, 10, 37, 6, tzinfo=UTC)
INSTANTS = st.datetimes(timezones=st.just(UTC))


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2020-08-18T10:37:06Z", MORNING),
        ("2020-08-18T10:37:06z", MORNING),
        ("2020-08-18t10:37:06Z", MORNING),
        ("2020-08-18 10:37:06Z", MORNING),
        ("2020-08-18 10:37:06", MORNING),
        ("2020-08-18T10:37:06", MORNING),
        ("2020-08-18T10:37", MORNING.replace(second=0)),
        ("2020-08-18T9:37:06", MORNING.replace(hour=9)),
        ("2020-08-18 9:37Z", MORNING.replace(hour=9, second=0)),
        ("2020-08-18T10:37:06+00:00", MORNING),
        ("2020-08-18T10:37:06-00:00", MORNING),
        ("2020-08-18T12:37:06+02:00", MORNING),
        ("2020-08-18T12:37:06 +02:00", MORNING),
        ("2020-08-18T12:37:06+0200", MORNING),
        ("2020-08-18T12:37:06+02", MORNING),
        ("2020-08-18T5:07:06-05:30", MORNING),
        ("2020-08-19T00:37:06+14:00", MORNING),
        ("2020-08-18T10:37:06.5Z", MORNING.replace(microsecond=500_000)),
        ("2020-08-18T10:37:06,5Z", MORNING.replace(microsecond=500_000)),
        ("2020-08-18T10:37:06.000001Z", MORNING.replace(microsecond=1)),
        ("2020-08-18T10:37:06.000001999Z", MORNING.replace(microsecond=1)),
        ("2020-08-18T10:37:06.999999999999Z", MORNING.replace(microsecond=999_999)),
        ("2020-02-29T00:00:00Z", datetime(2020, 2, 29, tzinfo=UTC)),
        (" 2020-08-18T10:37:06Z\n", MORNING),
    ],
)
def test_valid_instants_are_parsed(text: str, instant: datetime) -> None:
    assert parse_instant(text) == instant
    assert parse_instant(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2020-08-18",
        "10:37:06",
        "1597747026",
        "2020-08-18T",
        "2020-08-18T10",
        "2020-08-18T1037",
        "2020-8-18T10:37:06",
        "20-08-18T10:37:06",
        "2020/08/18T10:37:06",
        "18-08-2020T10:37:06",
        "2020-08-18_10:37:06",
        "2020-08-18T10:37:06.",
        "2020-08-18T10:37:06+",
        "2020-08-18T10:37:06+2",
        "2020-08-18T10:37:06+02:",
        "2020-08-18T10:37:06+02:60",
        "2020-08-18T10:37:06+24:00",
        "2020-08-18T10:37:06ZZ",
        "2020-08-18T10:37:06 UTC",
        "2020-08-18T10:37:06Z and more",
        "2020-08-18T24:00:00",
        "2020-08-18T10:60:00",
        "2020-08-18T10:37:60",
        "2021-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2020-00-18T10:37:06",
        "2020-13-18T10:37:06",
        "2020-08-32T10:37:06",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "٢٠٢٠-08-18T10:37:06",
        "2020-08-18T10:37:06\0",
        5,
        1.5,
        True,
        None,
        ["2020-08-18T10:37:06Z"],
    ],
)
def test_an_invalid_instant_is_a_value_error(text: Any) -> None:
    with pytest.raises(ValueError, match="2020-08-18T10:37:06Z"):
        parse_instant(text)


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (MORNING, "2020-08-18T10:37:06Z"),
        (MORNING.replace(microsecond=1), "2020-08-18T10:37:06.000001Z"),
        (MORNING.replace(microsecond=500_000), "2020-08-18T10:37:06.500000Z"),
    ],
)
def test_zero_microseconds_are_omitted(instant: datetime, text: str) -> None:
    assert format_time(instant) == text


@given(INSTANTS)
def test_format_and_parse_are_inverse(instant: datetime) -> None:
    assert parse_instant(format_time(instant)) == instant


@given(INSTANTS, st.integers(-14 * 60, 14 * 60))
def test_offsets_are_converted_to_utc(instant: datetime, minutes: int) -> None:
    try:
        local = (instant + timedelta(minutes=minutes)).replace(tzinfo=None)
    except OverflowError:
        return
    offset = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    assert parse_instant(local.isoformat() + offset) == instant


@pytest.mark.parametrize(
    ("degrees", "text"),
    [
        (37.553441, "37.5534410"),
        (-122.290524, "-122.2905240"),
        (0.0, "0.0000000"),
        (-0.0, "0.0000000"),
        (-4e-8, "0.0000000"),
        (-6e-8, "-0.0000001"),
        (5e-324, "0.0000000"),
        (1 / 3, "0.3333333"),
        (179.99999999, "180.0000000"),
        (-180, "-180.0000000"),
    ],
)
def test_degrees_have_seven_decimals_and_no_negative_zero(degrees: float, text: str) -> None:
    assert format_degrees(degrees) == text
