"""`make openapi`: docs/postman, a Postman collection in which every request proves its answer.

openapi-to-postmanv2, on which Portman stands, was tried: its requests have invented values, no order and no
assertions, so that all that matters here would have been its configuration.
"""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from local.instance import CHECKOUT
from local.postman_items import BODY, Call, Check, item, refusals, shown

FOLDER = CHECKOUT / "docs" / "postman"
# By file: its name, and the variables that lead there; people are made at {{persons_api}}.
ENVIRONMENTS = {
    "connect-app": ("Connect APP", {"api": "http://127.0.0.1:30000"}),
    "connect-api": ("Connect API", {"api": "http://127.0.0.1:30001"}),
    "persons-api": ("Persons API", {"api": "http://127.0.0.1:30002"}),
    "locations": (
        "Locations, at stages 3 and 4",
        {"api": "http://127.0.0.1:30003", "persons_api": "http://127.0.0.1:30001"},
    ),
}
VARIABLES = {
    "api": "http://127.0.0.1:30001",
    "persons_api": "{{api}}",
    "token": "",  # of a staff user; not needed where ACCESS=open
    "unknown_id": "999999999999",
    "tries": "0",
}
FINN, DAVID = shown("getPerson"), shown("listEncounters")["person"]
DAY = {"start_date": "2026-05-11", "end_date": "2026-05-11"}
BOOTH, BESIDE = "52.5200000", "52.5200090"  # a metre to the north
ONE_MORE = Check(
    "There is a next page",
    (
        'const next = pm.response.headers.get("Link").match(/^<(\\/api\\/[^>]+)>; rel="next"$/);',
        "pm.expect(next).to.not.be.null;",
        'pm.collectionVariables.set("next", next[1]);',
    ),
)


# --- steps that several folders take -------------------------------------------------------------


def ready(operation_id: str) -> Iterator[Call]:
    says_so = Check("It is ready", (f'pm.expect({BODY}.status).to.eql("ready");',))
    yield Call(operation_id, "Ready?", checks=(says_so,))
    yield from refusals(operation_id)


def make(who: dict[str, Any], variable: str) -> Call:
    names = {name: value for name, value in who.items() if name != "id"}
    return Call(
        "createPerson",
        f"Make {who['first_name']}",
        status="201",
        body=names,
        keeps={variable: f"{BODY}.id"},
        equals=who,
        checks=(header("Location", f"`/api/persons/${{{BODY}.id}}`"),),
        api="{{persons_api}}",
    )


def delete(who: dict[str, Any]) -> Iterator[Call]:
    path, name = {"person_id": str(who["id"])}, who["first_name"]
    yield Call("deletePerson", f"Delete {name}", status="204", path=path, api="{{persons_api}}")
    gone = {"detail": f"There is no person {who['id']}."}
    yield Call("getPerson", f"{name} is gone", status="404", path=path, equals=gone, api="{{persons_api}}")


def ping(who: dict[str, Any], time: str, latitude: str) -> dict[str, Any]:
    instance = {"latitude": latitude, "longitude": "13.4000000"}
    return {"person_id": who["id"], **instance, "creation_time": f"2026-05-11T{time}Z"}


def location(sent: dict[str, Any]) -> dict[str, Any]:
    moment = datetime.fromisoformat(sent["creation_time"]).astimezone(UTC)
    return {"id": f"{sent['person_id']}-{int(moment.timestamp()) * 1_000_000}", "accuracy": None, **sent}


def send(*pings: dict[str, Any]) -> Iterator[Call]:
    """Ends when all are stored: at the last stage they are on their way for a moment."""
    yield Call(
        "sendPings", "Send their pings", status="202", body=list(pings), equals={"accepted": len(pings)}
    )
    for one in map(location, pings):
        name = {who["id"]: who["first_name"] for who in (FINN, DAVID)}[one["person_id"]]
        says = f"Wait for {name}'s ping of {one['creation_time'][11:19]}"
        path = {"location_id": one["id"]}
        yield Call("getLocation", says, path=path, waits=True, equals=one)


def header(name: str, value: str) -> Check:
    return Check(f"{name} leads to it", (f'pm.expect(pm.response.headers.get("{name}")).to.eql({value});',))


# --- the folders ---------------------------------------------------------------------------------


def health() -> Iterator[Call]:
    """Whether a process answers, has what it needs, and where its API begins: paths of every web process."""
    yield Call("health_retrieve", "Alive?", equals="healthy")
    yield Call("health_live_retrieve", "Alive, for probes?", equals="healthy")
    yield Call("listEntryPoints", "Where to begin?")
    for operation_id in ("health_retrieve", "health_live_retrieve", "listEntryPoints"):
        yield from refusals(operation_id)
    yield from ready("health_ready_retrieve")


def access() -> Iterator[Call]:
    """Who is calling. Where ACCESS=tokens put a token into the variable `token`."""
    yield Call("getCaller", "Who am I?")
    yield from refusals("getCaller")
    yield from refusals("exchangeCode")


def persons() -> Iterator[Call]:
    """People are made, found, changed and deleted."""
    yield make(FINN, "person_id")
    yield make(DAVID, "other_id")
    both = {"id": [FINN["id"], DAVID["id"]]}
    yield Call("listPersons", "Both, by id", query=both, equals=[FINN, DAVID])
    yield Call("listPersons", "The first page", query=both | {"limit": 1}, equals=[FINN], checks=(ONE_MORE,))
    yield Call("listPersons", "The next page", query={"next": ""}, equals=[DAVID])
    yield Call("listPersons", "Finn, by words", query=both | {"search": "amber brandt"}, equals=[FINN])
    yield Call("getPerson", "Finn, by id", equals=FINN)
    one_name = {"company_name": "Engines Ltd"}
    yield Call("changePerson", "Change one name", body=one_name, equals=FINN | one_name)
    names = {"first_name": "Ada", "last_name": "Lovelace", **one_name}
    yield Call("replacePerson", "Change all names", body=names, equals=FINN | names)
    yield Call("getConsent", "Finn may be found", equals={"findable": True, "decided": False})
    yield Call("setConsent", "Finn is hidden", body={"findable": False}, equals={"findable": False})
    yield Call("listPersons", "Finn is left out", query=both, equals=[DAVID])
    yield Call("getPerson", "Finn is still there for who knows the id", equals=FINN | names)
    yield Call("setConsent", "Finn is shown again", body={"findable": True}, equals={"findable": True})
    file = header(
        "Content-Disposition", '`attachment; filename="person-${pm.variables.get("person_id")}.zip"`'
    )
    yield Call("exportPerson", "All about Finn", form="application/zip", checks=(file,))
    for operation_id in (
        "listPersons",
        "createPerson",
        "getPerson",
        "replacePerson",
        "changePerson",
        "deletePerson",
        "getConsent",
        "setConsent",
    ):
        yield from refusals(operation_id)
    yield from refusals("exportPerson", headers={"Accept": "application/zip"})
    yield from delete(FINN)
    yield from delete(DAVID)


def locations() -> Iterator[Call]:
    """Pings are sent, one and many, good and bad, and looked at where they are stored."""
    yield from ready("health_ready_locations_retrieve")
    yield make(FINN, "person_id")
    one, two = shown("sendPings", "202", "OnePing"), ping(FINN, "09:31:00", BOOTH)
    sent = {name: value for name, value in one.items() if name != "id"}
    there = header("Location", f"`/api/locations/${{{BODY}.id}}`")
    kept = {"location_id": f"{BODY}.id"}
    yield Call("sendPings", "Send one ping", status="202", body=sent, equals=one, keeps=kept, checks=(there,))
    yield from send(sent, two)
    refused = shown("sendPings", "207")
    some = [sent, sent | {"latitude": "91"}]
    yield Call("sendPings", "Send a good one and a bad one", status="207", body=some, equals=refused)
    yield Call("getLocation", "The first ping, by its id", equals=one)
    his = {"person_id": FINN["id"]}
    yield Call("listLocations", "Where Finn was", query=his, equals=[one, location(two)])
    page = his | {"limit": 1}
    yield Call("listLocations", "The first page of it", query=page, equals=[one], checks=(ONE_MORE,))
    yield Call("listLocations", "The next page of it", query={"next": ""}, equals=[location(two)])
    within = his | {"start": "2026-05-11T09:30:30Z", "end": "2026-05-11", "bbox": "13.3,52.4,13.5,52.6"}
    yield Call("listLocations", "Where he was in a range and a box", query=within, equals=[location(two)])
    for operation_id in ("listLocations", "sendPings", "getLocation"):
        yield from refusals(operation_id)
    yield from delete(FINN)
    yield Call("listLocations", "His pings are gone, too", query=his, equals=[])


def connections() -> Iterator[Call]:
    """Who was near whom, and together for how long, in every form that there is."""
    yield from ready("health_ready_connections_retrieve")
    yield make(FINN, "person_id")
    yield make(DAVID, "other_id")
    near = [ping(DAVID, "10:00:20", BESIDE), ping(DAVID, "10:01:00", BESIDE), ping(DAVID, "11:00:00", BOOTH)]
    near[0]["accuracy"] = 40
    own = [ping(FINN, "10:00:00", BOOTH), ping(FINN, "10:01:05", BOOTH), ping(FINN, "11:00:00", BOOTH)]
    yield from send(*own, *near)
    met = [{"location": location(one), "person": DAVID} for one in near]
    yield Call("listConnections", "Where David was near", query=DAY | {"within": 60}, equals=met)
    page = DAY | {"distance": 0.5, "limit": 1}
    yield Call("listConnections", "Where he was very near", query=page, equals=met[2:])
    page = DAY | {"max_accuracy": 20}
    yield Call("listConnections", "Where he was near, without the worst ping", query=page, equals=met[1:])
    long, short = (
        encounter("10:00:20", "10:01:00", duration_s=40, pings=2, min_distance_m=1),
        encounter("11:00:00", "11:00:00", duration_s=0, pings=1, min_distance_m=0),
    )
    yield Call("listEncounters", "When they were together", query=DAY, equals=[long, short])
    yield Call(
        "listEncounters", "The first page of it", query=DAY | {"limit": 1}, equals=[long], checks=(ONE_MORE,)
    )
    yield Call("listEncounters", "The next page of it", query={"next": ""}, equals=[short])
    yield Call("listEncounters", "For half a minute or more", query=DAY | {"min_duration": 30}, equals=[long])
    points = Check("Each is a point", (f"pm.expect({BODY}.features.length).to.eql(2);",))
    yield Call("listEncounters", "As a map", form="application/geo+json", query=DAY, checks=(points,))
    head = json.dumps(shown("listEncounters", form="text/csv").splitlines()[0])
    table = Check(
        "It is a table with a header",
        (
            'const lines = pm.response.text().trim().split("\\r\\n");',
            f"pm.expect(lines[0]).to.eql({head});",
            "pm.expect(lines.length).to.eql(3);",
        ),
    )
    yield Call("listEncounters", "As a table", form="text/csv", query=DAY, checks=(table,))
    for operation_id in ("listConnections", "listEncounters"):
        yield from refusals(operation_id, query=DAY)
    yield from delete(FINN)
    yield from delete(DAVID)


def encounter(start: str, end: str, **facts: Any) -> dict[str, Any]:
    """With David, where Finn stood."""
    times = {"start": f"2026-05-11T{start}Z", "end": f"2026-05-11T{end}Z"}
    return {"person": DAVID, **times, **facts, "latitude": BOOTH, "longitude": "13.4000000"}


def two_people_meet() -> Iterator[Call]:
    """From end to end: two people are made, send pings from one spot, are seen to have met, and leave."""
    yield make(FINN, "person_id")
    yield make(DAVID, "other_id")
    times = ("10:00:00", "10:01:00", "10:02:00")
    yield from send(*(ping(who, time, BOOTH) for time in times for who in (FINN, DAVID)))
    met = encounter("10:00:00", "10:02:00", duration_s=120, pings=3, min_distance_m=0)
    yield Call("listEncounters", "Finn met David for two minutes", query=DAY, equals=[met])
    his = {"person_id": str(DAVID["id"])}
    yield Call("listEncounters", "David met Finn", path=his, query=DAY, equals=[met | {"person": FINN}])
    yield from delete(FINN)
    yield Call("listEncounters", "David met nobody any more", path=his, query=DAY, equals=[])
    yield from delete(DAVID)


FOLDERS: tuple[Callable[[], Iterator[Call]], ...] = (
    health,
    access,
    persons,
    locations,
    connections,
    two_people_meet,
)


def collection() -> dict[str, Any]:
    return {
        "info": {
            "name": "Connect API",
            "description": "Made by `make openapi`; docs/postman/README.md says how to run it.",
            "schema": "https://schema.getpostman.com/json/collection/v2.1.0/collection.json",
        },
        "item": [
            {
                "name": folder.__name__.replace("_", " "),
                "description": " ".join((folder.__doc__ or "").split()),
                "item": [item(call) for call in folder()],
            }
            for folder in FOLDERS
        ],
        "auth": {"type": "bearer", "bearer": [{"key": "token", "value": "{{token}}", "type": "string"}]},
        "variable": [{"key": key, "value": value} for key, value in VARIABLES.items()],
    }


def environment(name: str, values: dict[str, str]) -> dict[str, Any]:
    return {
        "name": name,
        "values": [{"key": key, "value": value, "enabled": True} for key, value in values.items()],
        "_postman_variable_scope": "environment",
    }


def render() -> dict[str, str]:
    """The text of each file of docs/postman that is made."""
    files = {"connect.postman_collection.json": collection()}
    for file, (name, values) in ENVIRONMENTS.items():
        files[f"{file}.postman_environment.json"] = environment(name, values)
    return {name: json.dumps(data, indent=2, ensure_ascii=False) + "\n" for name, data in files.items()}


if __name__ == "__main__":
    for name, text in render().items():
        (FOLDER / name).write_text(text)
