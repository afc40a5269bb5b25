"""What phones send: by app and kind of message the request, and what becomes of it, as in docs/phones.md.

A position is at LATITUDE, LONGITUDE at the given moment, unless the message says otherwise.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlencode

from phones import gpslogger, osmand, overland, owntracks

LATITUDE, LONGITUDE = 52.520008, 13.404954
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
OWNTRACKS, OVERLAND = json.dumps(owntracks.ANSWER), json.dumps(overland.ANSWER)
OSMAND, GPSLOGGER = json.dumps(osmand.ANSWER), json.dumps(gpslogger.ANSWER)
ANSWERS = {"owntracks": OWNTRACKS, "overland": OVERLAND, "osmand": OSMAND, "gpslogger": GPSLOGGER}


@dataclass(frozen=True)
class Message:
    """`stored` has the accuracy in metres of each position; `refused` the reason of each refused point."""

    app: str
    kind: str
    body: bytes = b""
    query: str = ""
    content_type: str = JSON
    method: str = "POST"
    stored: list[float | None] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def path(self) -> str:
        return f"/api/phones/{self.app}" + (f"?{self.query}" if self.query else "")

    @property
    def outcome(self) -> str:
        """The cell of the table in docs/phones.md."""
        parts = [f"stored, {_radius(self.stored[0])}"] if self.stored else []
        parts += [f"refused: {each}" for each in self.refused]
        return "; ".join(parts) or "not a position"


def _radius(metres: float | None) -> str:
    return "accuracy unknown" if metres is None else f"accuracy {metres:g} m"


LATITUDE_WRONG = "latitude: Must be a number from -90 to 90."
ACCURACY_WRONG = "accuracy: Must be a number, more than 0 and at most 100000."
NO_LATITUDE = "latitude: This field is required."
NO_TIME = "creation_time: This field is required."


def all_messages(moment: datetime, device: str) -> list[Message]:
    """The messages of a phone that calls itself `device`, a person's id or the token."""
    return [
        *_owntracks(moment),
        *_overland(moment, device),
        *_osmand(moment, device),
        *_traccar(moment, device),
        *_gpslogger(moment),
    ]


def _owntracks(moment: datetime) -> Iterator[Message]:
    point = {
        "_type": "location",
        "lat": LATITUDE,
        "lon": LONGITUDE,
        "tst": int(moment.timestamp()),
        "tid": "FB",
    }
    full = point | {
        "acc": 12,
        "alt": 34,
        "vac": 2,
        "vel": 61,
        "cog": 271,
        "batt": 66,
        "bs": 1,
        "conn": "w",
        "t": "u",
        "m": 1,
        "p": 100.2,
        "topic": "owntracks/fb/phone",
        "created_at": point["tst"] + 90,
        "_id": "98bfe226",
        "inregions": ["Hall"],
    }

    def sent(kind: str, body: Any, **outcome: Any) -> Message:
        return Message(
            "owntracks", kind, body if isinstance(body, bytes) else json.dumps(body).encode(), **outcome
        )

    yield sent("every field", full, stored=[12.0])
    yield sent("only what is required", point, stored=[None])
    yield sent("accuracy 0", point | {"acc": 0}, stored=[None])
    yield sent("numbers as texts", point | {"lat": str(LATITUDE), "acc": "9.5"}, stored=[9.5])
    yield sent("an empty body", b"")
    for kind in (
        "transition",
        "waypoint",
        "waypoints",
        "status",
        "lwt",
        "card",
        "steps",
        "beacon",
        "dump",
        "cmd",
    ):
        yield sent(f"`{kind}`", point | {"_type": kind, "desc": "Hall", "rad": 50})
    yield sent("`encrypted`", {"_type": "encrypted", "data": "c2VjcmV0"}, refused=[owntracks.ENCRYPTED])
    yield sent("no `_type`", {"lat": 1, "lon": 2}, refused=["_type: This field is required."])
    yield sent("latitude 91", point | {"lat": 91}, refused=[LATITUDE_WRONG])
    yield sent("no latitude", {**point, "lat": None}, refused=[NO_LATITUDE])
    yield sent("no time", {**point, "tst": None}, refused=[NO_TIME])
    yield sent(
        "time as a word", point | {"tst": "noon"}, refused=["creation_time: Must be seconds since 1970."]
    )
    yield sent("accuracy 200 km", point | {"acc": 200_000}, refused=[ACCURACY_WRONG])
    yield sent("no JSON", b"{", refused=["The body is not a JSON object."])
    yield sent("an array", [point], refused=["The body is not a JSON object."])


def _overland(moment: datetime, device: str) -> Iterator[Message]:
    berlin = moment.astimezone(timezone(timedelta(hours=2)))

    def feature(coordinates: Any = (LONGITUDE, LATITUDE), **properties: Any) -> dict[str, Any]:
        return {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": coordinates},
            "properties": {
                "timestamp": berlin.strftime("%Y-%m-%dT%H:%M:%S%z"),
                "horizontal_accuracy": 5,
                "speed": 1.5,
                "vertical_accuracy": -1,
                "motion": ["walking"],
                "battery_state": "unplugged",
                "wifi": "",
                "battery_level": 0.8,
                "altitude": 34,
                "device_id": device,
                **properties,
            },
        }

    def sent(kind: str, *features: Any, **outcome: Any) -> Message:
        body = {"locations": features, "current": feature(), "trip": {"distance": 10}}
        return Message("overland", kind, json.dumps(body).encode(), **outcome)

    bare = {"type": "Feature", "geometry": None, "properties": {"device_id": device}}
    if not device.isdigit():  # with tokens `device_id` means nothing
        yield sent("an empty device id", feature(device_id=""), stored=[5.0])
    yield sent("a batch of two", feature(), feature(), stored=[5.0, 5.0])
    yield sent("offset with a colon", feature(timestamp=berlin.isoformat()), stored=[5.0])
    yield sent("accuracy -1", feature(horizontal_accuracy=-1), stored=[None])
    yield sent("an empty batch")
    yield sent("good and bad", feature([LONGITUDE, 91]), feature(), stored=[5.0], refused=[LATITUDE_WRONG])
    yield sent("no geometry", bare, refused=[overland.NO_POINT])
    yield sent("no time", feature(timestamp=None), refused=[NO_TIME])
    if not device.isdigit():
        yield Message("overland", "no batch", b"{}", refused=[overland.NO_BATCH])
        yield Message("overland", "no JSON", b"[", refused=["The body is not a JSON object."])


def _osmand(moment: datetime, device: str) -> Iterator[Message]:
    point = {
        "id": device,
        "lat": str(LATITUDE),
        "lon": str(LONGITUDE),
        "timestamp": str(int(moment.timestamp())),
    }
    at = {"id": device, "timestamp": point["timestamp"]}

    def sent(kind: str, fields: dict[str, Any], **outcome: Any) -> Message:
        query = urlencode({name: value for name, value in fields.items() if value is not None})
        return Message("osmand", kind, query=query, method="GET", content_type="", **outcome)

    osmand_app = {"hdop": "1.2", "altitude": "34.0", "speed": "1.4", "bearing": "7.19"}
    yield sent("OsmAnd's template", point | osmand_app, stored=[None])
    yield sent("accuracy", point | {"accuracy": "12.5", "batt": "66", "charge": "true"}, stored=[12.5])
    yield sent("accuracy 0", point | {"accuracy": "0"}, stored=[None])
    yield sent("milliseconds", point | {"timestamp": f"{point['timestamp']}000"}, stored=[None])
    yield sent("ISO time", point | {"timestamp": moment.strftime("%Y-%m-%dT%H:%M:%SZ")}, stored=[None])
    yield sent("text time", point | {"timestamp": moment.strftime("%Y-%m-%d %H:%M:%S")}, stored=[None])
    yield sent("`deviceid`", {**point, "id": None, "deviceid": device}, stored=[None])
    yield sent("`location`", at | {"location": f"{LATITUDE},{LONGITUDE}"}, stored=[None])
    yield sent("`valid=1`", point | {"valid": "1"}, stored=[None])
    yield sent("`valid=false`", point | {"valid": "false"}, refused=[osmand.INVALID])
    yield sent("cells and no position", at | {"cell": "262,1,1234,5678", "wifi": "00-11-22,-60"})
    yield sent("latitude 91", point | {"lat": "91"}, refused=[LATITUDE_WRONG])
    yield sent("`location` without a comma", at | {"location": "52.5"}, refused=[
        "longitude: Must be a number from -180 to 180."
    ])  # fmt: skip
    body = urlencode(point | {"accuracy": "12.5"}).encode()
    yield Message("osmand", "query by POST", query=urlencode(point), content_type="", stored=[None])
    yield Message("osmand", "a form", body, content_type=FORM, stored=[12.5])
    yield Message("osmand", "a form without a Content-Type", body, content_type="", stored=[12.5])


def _traccar(moment: datetime, device: str) -> Iterator[Message]:
    coordinates = {
        "latitude": LATITUDE,
        "longitude": LONGITUDE,
        "accuracy": 12.5,
        "speed": -1,
        "heading": -1,
        "altitude": 34,
    }
    location = {
        "timestamp": moment.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "coords": coordinates,
        "is_moving": False,
        "odometer": 0,
        "event": "motionchange",
        "battery": {"level": 1, "is_charging": False},
        "activity": {"type": "still"},
        "extras": {},
    }

    def sent(kind: str, message: Any, **outcome: Any) -> Message:
        body = json.dumps({"device_id": device, **message}).encode()
        return Message("osmand", f"Traccar Client: {kind}", body, **outcome)

    yield sent("JSON", {"location": location}, stored=[12.5])
    wrong = f"&id=48241179&lat={LATITUDE}&lon={LONGITUDE}"
    yield sent("another id in `_`", {"location": location, "_": wrong}, stored=[12.5])
    bad = location | {"coords": coordinates | {"latitude": "north"}}
    yield sent("no number", {"location": bad}, refused=[LATITUDE_WRONG])
    yield sent("no position", {"event": "heartbeat"})


def _gpslogger(moment: datetime) -> Iterator[Message]:
    point = {
        "_type": "location",
        "lat": LATITUDE,
        "lon": LONGITUDE,
        "acc": 12.5,
        "tst": int(moment.timestamp()),
    }
    texts = {name: str(value) for name, value in point.items()}

    def sent(kind: str, body: Any, content_type: str = JSON, **outcome: Any) -> Message:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return Message("gpslogger", kind, raw, content_type=content_type, **outcome)

    more = {"alt": 34.0, "vel_mps": 1.4, "cog": 7.19, "batt": 66, "tid": "FB"}
    yield sent("our template", point | more, stored=[12.5])
    yield sent("numbers as texts", texts | {"vel": "1.4"}, stored=[12.5])
    yield sent("no Content-Type", point, "", stored=[12.5])
    unset = json.dumps(point)[:-1] + ', "alt":, "batt":}'
    yield sent("values that are not set", unset.encode(), stored=[12.5])
    yield sent("accuracy 0.0", texts | {"acc": "0.0"}, stored=[None])
    yield sent("accuracy that is not set", texts | {"acc": ""}, stored=[None])
    form = {"latitude": LATITUDE, "longitude": LONGITUDE, "accuracy": 12.5, "device": "phone"}
    time = {"time": moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")}
    yield sent("a form", urlencode(form | time).encode(), FORM, stored=[12.5])
    yield Message("gpslogger", "the query", query=urlencode(texts), content_type="", stored=[12.5])
    yield sent("no time", urlencode(form).encode(), FORM, refused=[NO_TIME])
    yield sent("latitude 91", point | {"lat": 91}, refused=[LATITUDE_WRONG])
    yield sent("another `_type`", point | {"_type": "waypoint"})
    yield sent("no JSON", b"{lat", refused=["The body is not a JSON object."])


def table() -> str:
    """The table of docs/phones.md."""
    kinds = {
        (each.app, each.kind): each
        for device in ("1000001", "token")
        for each in all_messages(datetime(2026, 5, 11, 9, 30, tzinfo=UTC), device)
    }
    names = {
        "owntracks": "OwnTracks",
        "overland": "Overland",
        "osmand": "OsmAnd, Traccar",
        "gpslogger": "GPSLogger",
    }
    rows = [
        f"| {names[each.app]} | {each.kind} | {each.outcome} | `{ANSWERS[each.app]}` |"
        for each in sorted(kinds.values(), key=lambda each: list(names).index(each.app))
    ]
    return "\n".join(["| app | message | result | answer |", "| --- | --- | --- | --- |", *rows])
