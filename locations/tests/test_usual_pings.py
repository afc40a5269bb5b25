"""parse_fast and parse give the same ping."""

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from locations import pings

digits = st.text("0123456789", min_size=1, max_size=4)
numbers = (
    st.integers(-200, 200)
    | st.floats(-200, 200)
    | st.floats(-1e-8, 1e-8)  # denormal ones among them
    | st.floats(-1e-8, 1e-8).map("{:.340f}".format)
    | st.builds("{}e{}".format, st.integers(-99, 99), st.integers(-400, 400))
    | st.builds("{}{}.{}".format, st.sampled_from(["", "-"]), digits, digits)
    | st.sampled_from(["", " 5", "1e1", "nan", "5,6", "٣", True, None, [], "-0", "90.0000000001"])
)
ids = st.integers(-5, 10**20) | digits | st.sampled_from([True, 5.0, "5.0", " 5", "٣", "5,1", None])
times = (
    st.datetimes(timezones=st.none()).map(lambda moment: f"{moment.isoformat()}Z")
    | st.datetimes().map(lambda moment: moment.isoformat())
    | st.builds(
        "{}-{:02}-{:02}T{:02}:{:02}:{:02}.{}Z".format,
        st.integers(1899, 2100),
        st.integers(0, 13),
        st.integers(0, 32),
        st.integers(0, 25),
        st.integers(0, 61),
        st.integers(0, 61),
        st.text("0123456789", min_size=1, max_size=9),
    )
    | st.sampled_from([None, 5, "", "2026-05-11", "2026-05-11 9:30"])
)
fields = st.fixed_dictionaries(
    {"person_id": ids, "latitude": numbers, "longitude": numbers, "creation_time": times},
    optional={"id": st.just("x"), "speed": st.just(1), "accuracy": numbers},
)


@settings(max_examples=1000, deadline=None)
@given(fields | st.integers() | st.lists(st.integers(), max_size=5))
@example({"person_id": "5", "latitude": "1,2", "longitude": "3", "creation_time": "2026-05-11T09:30:00Z"})
def test_parse_fast_agrees_with_parse(sent: Any):
    quick = pings.parse_fast(sent)

    if quick is not None:
        assert quick == pings.parse(sent)
        assert quick.creation_time.tzinfo == pings.parse(sent).creation_time.tzinfo


def test_parse_fast_parses_the_common_form():
    sent = {
        "person_id": 5,
        "latitude": "52.52",
        "longitude": -13.405,
        "creation_time": "2026-05-11T09:30:00.123456Z",
    }

    assert pings.parse_fast(sent) == pings.parse(sent)
    for creation_time in ("2026-05-11T09:30:00Z", "2026-05-11T09:30:00.123Z"):
        assert pings.parse_fast(sent | {"creation_time": creation_time}) is not None
