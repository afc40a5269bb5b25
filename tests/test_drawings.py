"""The drawings of docs/understand.md: what they show is sent to a real system, and what it finds is shown."""

import itertools
from datetime import UTC, datetime
from math import atan2, degrees, hypot
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from geographiclib.geodesic import Geodesic

from local.instance import CHECKOUT
from tests.system import STAGES, System

# The last stage, asked together with all else that is asked of it.
pytestmark = pytest.mark.parametrize("stage", STAGES[-1:], indirect=True)

TEN = datetime(2026, 5, 11, 10, tzinfo=UTC)
DAY = "start_date=2026-05-11&end_date=2026-05-11"
PLACE = {"lat1": 52.52, "lon1": 13.405}
FIVE_M, TOGETHER_S = 5, 60  # what the API takes for distance and within


class Drawing:
    """An SVG whose elements say by their classes and data what they stand for."""

    def __init__(self, name: str) -> None:
        self.root = ET.parse(CHECKOUT / "docs" / name).getroot()  # noqa: S314 - our own
        self.pings = [one.attrib for one in self.of_class("ping")]
        self.texts = {"".join(one.itertext()) for one in self.root.iter() if one.tag.endswith("text")}

    def of_class(self, name: str, within: ET.Element | None = None) -> list[ET.Element]:
        elements = (self.root if within is None else within).iter()
        return [one for one in elements if name in one.get("class", "").split()]

    def send(self, system: System) -> dict[str, int]:
        """Sends the pings of everybody in it; gives their ids."""
        ids: dict[str, int] = {}
        for ping in self.pings:
            name = ping["data-person"]
            if name not in ids:
                names = {"first_name": name, "last_name": "Lee", "company_name": "Acme"}
                ids[name] = system.ask("POST", "/api/persons", json=names).json()["id"]
            east, north = float(ping["data-east"]), float(ping["data-north"])
            there = Geodesic.WGS84.Direct(**PLACE, s12=hypot(east, north), azi1=degrees(atan2(east, north)))
            sent = {"person_id": ids[name], "latitude": there["lat2"], "longitude": there["lon2"]}
            sent["creation_time"] = f"2026-05-11T{ping['data-time']}Z"
            assert system.ask("POST", "/api/locations", json=sent).status_code == 202
        system.settle()
        return ids


def seconds(time: str) -> float:
    """Since ten o'clock."""
    return (datetime.fromisoformat(f"2026-05-11T{time}Z") - TEN).total_seconds()


def assert_to_scale(points: list[tuple[float, float]]) -> None:
    """Each is a value and where it is drawn, in pixels."""
    (low, first), (high, last) = min(points), max(points)
    for value, pixels in points:
        assert pixels == pytest.approx(first + (value - low) * (last - first) / (high - low), abs=0.1)


def encounters(system: System, person_id: int, query: str = "") -> list[Any]:
    return list(system.get(f"/api/persons/{person_id}/encounters?{DAY}{query}").json())


def test_the_encounters_found_are_those_drawn(fresh: System) -> None:
    drawing = Drawing("encounter.svg")
    ids = drawing.send(fresh)

    shown, bars = [], []
    for one in drawing.of_class("encounter"):
        said = {
            name: drawing.of_class(name, one)[0].text or "" for name in ("from", "to", "duration", "pings")
        }
        shown.append(
            {
                "start": f"2026-05-11T{said['from']}Z",
                "end": f"2026-05-11T{said['to']}Z",
                "duration_s": float(said["duration"]),
                "pings": int(said["pings"]),
            }
        )
        [bar] = drawing.of_class("bar", one)
        left, width = float(bar.attrib["x"]), float(bar.attrib["width"])
        bars += [(seconds(said["from"]), left), (seconds(said["to"]), left + width)]
    assert [{name: one[name] for name in shown[0]} for one in encounters(fresh, ids["Ada"])] == shown
    assert [(one["start"], one["end"]) for one in encounters(fresh, ids["Grace"])] == [
        (one["start"], one["end"]) for one in shown
    ]

    steps = [int(one.text or "") for one in drawing.of_class("seconds")]
    for gap in steps:
        found = encounters(fresh, ids["Ada"], f"&max_gap={gap}")
        assert len(found) == 1 + sum(step > gap for step in steps)

    minutes = [(seconds(one.text or ""), float(one.attrib["x"])) for one in drawing.of_class("minute")]
    assert_to_scale([(seconds(one["data-time"]), float(one["cx"])) for one in drawing.pings] + bars + minutes)


def test_every_pair_is_drawn_and_no_other(stage: str) -> None:
    drawing = Drawing("encounter.svg")
    ada, grace = ([one for one in drawing.pings if one["data-person"] == name] for name in ("Ada", "Grace"))
    apart = {
        (f"M{a['cx']} {a['cy']} L{g['cx']} {g['cy']}"): abs(seconds(a["data-time"]) - seconds(g["data-time"]))
        for a, g in itertools.product(ada, grace)
    }
    assert [one.attrib["d"] for one in drawing.of_class("line")] == [
        line for line, apart_s in apart.items() if apart_s <= TOGETHER_S
    ]
    assert {apart[one.attrib["d"]] for one in drawing.of_class("none")} == {70}


def test_who_is_near_is_who_is_drawn_near(fresh: System) -> None:
    drawing = Drawing("distance.svg")
    ids = drawing.send(fresh)
    ada, *others = drawing.pings

    wide = encounters(fresh, ids["Ada"], "&distance=10&within=3600")
    assert {one["person"]["first_name"] for one in wide} == {one["data-person"] for one in others}
    assert {f"{one['min_distance_m']:.2f} m" for one in wide} <= drawing.texts
    for one in others:
        later = int(seconds(one["data-time"]) - seconds(ada["data-time"]))
        said = f"{later} s" if later < 60 else f"{later // 60} minutes"
        assert f"{one['data-person']}, {said} later:" in drawing.texts

    def near(query: str) -> set[str]:
        rows = fresh.get(f"/api/persons/{ids['Ada']}/connection?{DAY}{query}").json()
        return {row["person"]["first_name"] for row in rows}

    assert near("") == {"Grace", "Cleo"}
    assert near("&within=60") == {"Grace"}
    assert [one["person"]["first_name"] for one in encounters(fresh, ids["Ada"])] == ["Grace"]

    [circle] = drawing.of_class("reach")
    rim = float(circle.attrib["cx"]) + float(circle.attrib["r"])
    assert_to_scale([(float(one["data-east"]), float(one["cx"])) for one in drawing.pings] + [(FIVE_M, rim)])
    assert_to_scale([(float(one["data-north"]), float(one["cy"])) for one in drawing.pings])
