"""docs/access.md holds: every operation, by every kind of caller, at the first stage and at the last."""

import re
import secrets
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
import requests
import yaml

from grpc_server import locations_pb2 as pb
from grpc_server.converter import to_timestamp
from grpc_server.locations_pb2_grpc import LocationServiceStub
from local.instance import CHECKOUT, VENV
from locations.pings import parse_id
from phones.tests.messages import all_messages
from tests.gunicorn_server import until
from tests.system import API, PERSONS, STAGES, System
from tests.system import at as database
from tests.test_journey import BESIDE, BOOTH, has, make_person, ping

DAY = "start_date=2026-05-11&end_date=2026-05-11"
TEN = "1778493600000000"  # 2026-05-11 10:00, as in the identifier of a location
WEBHOOK = {"url": "https://example.org/connect", "events": ["encounter.ended"]}
NAMES = {"first_name": "Ann", "last_name": "Lee", "company_name": "Acme"}


def table(name: str) -> dict[tuple[str, str], str]:
    """What docs/access.md says: by call and caller the answer."""
    text = (CHECKOUT / "docs" / "access.md").read_text()
    block = text.partition(f"<!-- {name}: begin -->")[2].partition(f"<!-- {name}: end -->")[0]
    head, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in block.split("\n") if line
    ]
    return {
        (row[0], caller): answer for row in rows for caller, answer in zip(head[1:], row[1:], strict=True)
    }


REST, GRPC = table("rest"), table("grpc")


@dataclass
class Event:
    """Three people who meet at ten, and a token of each kind; those of a person and of devices are Ann's."""

    system: System
    ids: dict[str, int]
    tokens: dict[str, str | None]

    def filled(self, text: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda found: str(self.ids[found[1]]), text)

    def ask(self, caller: str, verb: str, path: str, **how: Any) -> requests.Response:
        token = self.tokens[caller]
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return requests.request(verb, self.system.url(path), headers=headers, timeout=30, **how)

    def grpc(self, caller: str, ask: Callable[[LocationServiceStub, list[tuple[str, str]]], Any]) -> str:
        token = self.tokens[caller]
        metadata = [("authorization", f"Bearer {token}")] if token else []
        with self.system.grpc() as stub:
            try:
                ask(stub, metadata)
            except grpc.RpcError as error:
                return str(error.code().name)
        return "OK"


def fresh(person_id: int) -> dict[str, Any]:
    """A ping of now, as a device may send it."""
    return {"person_id": person_id, **BOOTH, "creation_time": datetime.now(UTC).isoformat()}


def made(system: System, *arguments: str) -> str:
    """What `manage.py tokens` prints."""
    command = [VENV / "bin" / "python", "manage.py", "tokens", *arguments]
    done = subprocess.run(
        command, cwd=CHECKOUT, env=system.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module", params=[STAGES[0], STAGES[-1]])
def event(request: pytest.FixtureRequest, guarded: System) -> Event:
    guarded.go(request.param)
    guarded.empty()
    ids = {"own": make_person(guarded, "Ann"), "other": make_person(guarded, "Bo")}
    ids["hidden"] = make_person(guarded, "Cy")
    hide = guarded.ask("PUT", f"/api/persons/{ids['hidden']}/consent", json={"findable": False})
    assert hide.status_code == 200, hide.text
    sent = [
        ping(ids[who], time, where)
        for who, where in (("own", BOOTH), ("other", BESIDE))
        for time in ("10:00:00", "10:00:30", "10:01:00")
    ]
    assert guarded.ask("POST", "/api/locations", json=sent).json() == {"accepted": 6}
    for who in ("own", "other"):
        until(lambda who=who: guarded.get(f"/api/locations/{ids[who]}-{TEN}").ok)
    ann = ["--people", str(ids["own"])]
    tokens: dict[str, str | None] = {"no token": None, "staff": guarded.token}
    tokens |= {kind: made(guarded, "make", kind, *ann) for kind in ("ingest", "person")}
    return Event(guarded, ids, tokens | {"service": made(guarded, "make", "service")})


# --- the tables ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("call", "caller"), REST)
def test_rest(event: Event, call: str, caller: str) -> None:
    make_spare(event, call)
    verb, path = re.fullmatch(r"`(\w+) (\S+)`.*", call).groups()  # type: ignore[union-attr]
    if re.search(r"^/api/.*(connection|encounters|visits|summary|graph|cascade)(\?|$)", path):
        path += f"&{DAY}" if "?" in path else f"?{DAY}"
    body: Any = None
    if path.endswith("/consent"):
        body = {"findable": True}
    elif path.endswith("/exchange"):
        link = made(event.system, "link", "--people", str(event.ids["own"]))
        body = {"code": link.partition("#code=")[2]}
    elif path == "/api/event":
        body = {"name": "Fair", "time_zone": "UTC", "first_day": "2026-05-11", "last_day": "2026-05-12"}
    elif path == "/api/zones":
        body = {"type": "FeatureCollection", "features": []}
    elif verb in ("POST", "PUT"):
        body = WEBHOOK if path == "/api/webhooks" else NAMES
    elif verb == "PATCH":
        body = {"company_name": "Acme"}
    if "` of " in call:
        whose = re.findall(r"\{(\w+)\}", call)
        body = [fresh(event.ids[who]) for who in whose]
        body = body if len(body) > 1 else body[0]
    if path.startswith("/health/ready") and is_served(event.system.stage or "", path):
        # Not ready while a process has not finished its first look at its needs.
        until(lambda: event.ask(caller, verb, path).ok)

    if "/phones/" in path:
        answer = ask_phone(event, caller, verb, path)
    else:
        answer = event.ask(
            caller,
            verb,
            event.filled(path),
            json=body if verb in ("POST", "PUT", "PATCH") else None,
            stream=path == "/api/live",  # the answer does not end
        )

    expected = REST[call, caller] if is_served(event.system.stage or "", path) else "404"
    assert str(answer.status_code) == expected
    assert (answer.status_code == 401) == ("WWW-Authenticate" in answer.headers)
    answer.close()


def make_spare(event: Event, call: str) -> None:
    """Makes what a call deletes."""
    if "{spare}" in call:
        event.ids["spare"] = make_person(event.system, "Dee")
    if "{webhook}" in call:
        made = event.ask("staff", "POST", "/api/webhooks", json=WEBHOOK)
        event.ids["webhook"] = made.json()["id"] if made.ok else 1


def is_served(stage: str, path: str) -> bool:
    """Everybody's encounters need the process that finds them."""
    new = ("/api/encounters", "/api/live", "/api/webhooks", "/health/ready/encounters", "/health/ready/live")
    return has(stage, 7) or not path.startswith(new)


def ask_phone(event: Event, caller: str, verb: str, path: str) -> requests.Response:
    """A position of now, with the token where the app puts it, and Ann's id where the app names its phone."""
    token, own = event.tokens[caller], str(event.ids["own"])
    url = event.system.url(path)
    if "osmand" in path:
        return requests.request(verb, f"{url}&id={token}" if token else url, timeout=30)
    app = path.rpartition("/")[2]
    message = next(each for each in all_messages(datetime.now(UTC), own) if each.app == app)
    if app == "overland":
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return requests.post(url, message.body, headers=headers, timeout=30)
    return requests.post(url, message.body, auth=(own, token) if token else None, timeout=30)


def of_one(person_id: int) -> dict[str, Any]:
    moment = to_timestamp(datetime.now(UTC))
    return {"person_id": person_id, "creation_time": moment, "latitude": 52.52, "longitude": 13.4}


AROUND = bytes.fromhex(  # the WKB of a polygon: 13 to 14 degrees east, 52 to 53 north
    "01030000000100000005000000"
    "0000000000002a400000000000004a400000000000002c400000000000004a400000000000002c400000000000804a40"
    "0000000000002a400000000000804a400000000000002a400000000000004a40"
)


def range_of_a_day(person_id: int) -> dict[str, Any]:
    (_, start), (_, end) = parse_id("1-1778457600000000"), parse_id("1-1778544000000000")  # type: ignore[misc]
    return {"person_id": person_id, "start": to_timestamp(start), "end": to_timestamp(end)}


def about_presence(method: str, person_id: int) -> Any:
    """The request of one of the four methods; without a person it is about everybody."""
    day = {**range_of_a_day(1), "person_id": person_id or None}
    match method:
        case "ListDays":
            return pb.ListDaysRequest(person_id=person_id or None)
        case "ListPositions":
            return pb.ListPositionsRequest(person_id=person_id or None, at=day["end"])
        case "ListHeat":
            return pb.ListHeatRequest(**day)
        case _:
            return pb.ListVisitsRequest(areas=[pb.Area(id=1, polygon=AROUND)], **day)


@pytest.mark.parametrize(("call", "caller"), GRPC)
def test_grpc(event: Event, call: str, caller: str) -> None:
    if not has(event.system.stage or "", 5):
        return  # the address speaks gRPC from stage 5 on
    method = re.match(r"`(\w+)`", call)[1]  # type: ignore[index]
    who = re.search(r"\{(\w+)\}", call)
    person_id = event.ids[who[1]] if who else 0

    def ask(stub: LocationServiceStub, metadata: list[tuple[str, str]]) -> None:
        how = {"timeout": 20, "metadata": metadata}
        match method:
            case "RecordLocation":
                stub.RecordLocation(pb.Location(**of_one(person_id)), **how)
            case "RecordLocations":
                batch = pb.RecordLocationsRequest(locations=[pb.Location(**of_one(person_id))])
                assert [one.accepted for one in stub.RecordLocations(iter([batch]), **how)] == [1]
            case "GetLocation":
                stub.GetLocation(pb.GetLocationRequest(id=f"{person_id}-{TEN}"), **how)
            case "ListLocations":
                asked = pb.ListLocationsRequest(person_id=person_id or None, limit=100)
                for each in stub.ListLocations(asked, **how):
                    found = {one.person_id for one in each.locations}
                    assert caller != "person" or found == {event.ids["own"]}
            case "FindConnections":
                list(stub.FindConnections(pb.FindConnectionsRequest(**range_of_a_day(person_id)), **how))
            case "FindEncounters":
                list(stub.FindEncounters(pb.FindEncountersRequest(**range_of_a_day(person_id)), **how))
            case "ListDays" | "ListPositions" | "ListHeat" | "ListVisits":
                list(getattr(stub, method)(about_presence(method, person_id), **how))

    assert event.grpc(caller, ask) == GRPC[call, caller]


def test_the_tables_have_every_operation_that_there_is() -> None:
    schema = yaml.safe_load((CHECKOUT / "docs" / "openapi.yaml").read_text())
    operations = {f"{verb.upper()} {path}" for path, verbs in schema["paths"].items() for verb in verbs}
    named = {re.match(r"`(\w+ [^?`]+)", call)[1] for call, _ in REST}  # type: ignore[index]
    named = {
        re.sub(r"\{(own|other|hidden|spare|webhook)\}", "{}", one.replace(f"-{TEN}", "")) for one in named
    }
    assert {re.sub(r"\{\w+\}", "{}", one) for one in operations} <= named
    methods = pb.DESCRIPTOR.services_by_name["LocationService"].methods
    assert {method.name for method in methods} == {re.match(r"`(\w+)`", call)[1] for call, _ in GRPC}  # type: ignore[index]


# --- what is in the answers ----------------------------------------------------------------------


def test_a_person_is_told_of_itself_and_of_those_whom_it_met(event: Event) -> None:
    own, other = event.ids["own"], event.ids["other"]

    def get(path: str) -> Any:
        return event.ask("person", "GET", path).json()

    assert get("/api/caller")["person_id"] == own
    locations = get("/api/locations?limit=10000")
    assert {one["person_id"] for one in locations} == {own}
    assert [one["day"] for one in get("/api/days")] == sorted(
        {one["creation_time"][:10] for one in locations}
    )
    [position] = get("/api/positions?at=2026-05-11T10:01:00Z")
    assert position["person"]["id"] == position["location"]["person_id"] == own
    assert [one["people"] for one in get("/api/heat?start=2026-05-11&end=2026-05-11")] == [1]
    for path in ("/api/persons", f"/api/persons?id={own}&id={other}", "/api/persons?search=Lee"):
        assert [one["id"] for one in get(path)] == [own], path
    assert get(f"/api/persons?id={other}") == get("/api/persons?search=Bo") == []
    [met] = get(f"/api/persons/{own}/encounters?{DAY}")
    assert met["person"]["id"] == other
    assert {name: met[name] for name in BOOTH} == BOOTH  # its own


BEYOND = [
    {"distance": 10.1},
    {"within": 61},
    {"max_gap": 121},
    {"min_duration": 59},
    {"min_duration": 0},
    {"distance": 10_000, "within": 3600},
]


@pytest.mark.parametrize("question", BEYOND)
def test_a_person_cannot_look_around_from_afar(event: Event, question: dict[str, float]) -> None:
    query = "&".join(f"{name}={value}" for name, value in question.items())
    address = f"/api/persons/{event.ids['own']}/encounters?{DAY}&{query}"
    answer = event.ask("person", "GET", address)
    assert (answer.status_code, answer.json().keys()) == (400, question.keys())
    assert "for a person's token" in answer.text
    assert event.ask("staff", "GET", address).status_code == 200
    if has(event.system.stage or "", 5):
        fields: dict[str, Any] = {
            f"{name}_{'m' if name == 'distance' else 's'}": value for name, value in question.items()
        }
        asked = pb.FindEncountersRequest(**range_of_a_day(event.ids["own"]), **fields)
        ask = lambda stub, how: list(stub.FindEncounters(asked, timeout=20, metadata=how))  # noqa: E731
        assert event.grpc("person", ask) == "INVALID_ARGUMENT"
        assert event.grpc("staff", ask) == "OK"


def test_an_ingest_token_sends_nothing_old_and_nothing_of_the_future(event: Event) -> None:
    own = event.ids["own"]
    old = fresh(own) | {"creation_time": (datetime.now(UTC) - timedelta(hours=73)).isoformat()}
    ahead = fresh(own) | {"creation_time": (datetime.now(UTC) + timedelta(seconds=90)).isoformat()}
    for each in (old, ahead):
        answer = event.ask("ingest", "POST", "/api/locations", json=each)
        assert (answer.status_code, list(answer.json())) == (400, ["creation_time"])
        assert event.ask("staff", "POST", "/api/locations", json=each).status_code == 202
    answer = event.ask("ingest", "POST", "/api/locations", json=[old, fresh(own), ahead])
    assert (answer.status_code, answer.json()["accepted"]) == (207, 1)
    assert [one["status"] for one in answer.json()["results"]] == [400, 202, 400]
    if has(event.system.stage or "", 5):
        moment = to_timestamp(datetime.now(UTC) - timedelta(hours=73))
        sent = pb.Location(**of_one(own) | {"creation_time": moment})
        ask = lambda stub, how: stub.RecordLocation(sent, timeout=20, metadata=how)  # noqa: E731
        assert event.grpc("ingest", ask) == "INVALID_ARGUMENT"


def test_the_quota_of_one_person_does_not_limit_others(event: Event) -> None:
    names = {"first_name": "Many", "last_name": "Pings", "company_name": "Quota"}
    own, other = event.ask("staff", "POST", "/api/persons", json=names).json()["id"], event.ids["other"]
    event.tokens["many"] = made(event.system, "make", "ingest", "--people", f"{other}-{own}")
    full = [fresh(own)] * 3600
    accepted, refused = (event.ask("many", "POST", "/api/locations", json=full) for _ in range(2))
    assert accepted.status_code == 202, accepted.text[:200]
    assert refused.status_code == 429, refused.text[:200]  # whichever process answers
    assert int(refused.headers["Retry-After"]) >= 1
    assert event.ask("many", "POST", "/api/locations", json=[*full, full[0]]).status_code == 413
    assert event.ask("many", "POST", "/api/locations", json=[fresh(other)]).status_code == 202
    if has(event.system.stage or "", 5):
        pings = [pb.Location(**of_one(own))] * 3600
        for sent, status in ((pings, "RESOURCE_EXHAUSTED"), (pings * 2, "INVALID_ARGUMENT")):
            batch = pb.RecordLocationsRequest(locations=sent)
            ask = lambda stub, how, batch=batch: list(  # noqa: E731
                stub.RecordLocations(iter([batch]), timeout=20, metadata=how)
            )
            assert event.grpc("many", ask) == status


def test_a_batch_is_kept_as_far_as_it_is_the_senders_own(event: Event) -> None:
    own, other = event.ids["own"], event.ids["other"]
    sent = [fresh(who) for who in (other, own, 999_999)]
    answer = event.ask("ingest", "POST", "/api/locations", json=sent).json()
    assert answer["accepted"] == 1
    assert [one["status"] for one in answer["results"]] == [404, 202, 404]
    assert answer["results"][0]["errors"] == {"person_id": [f"There is no person {other}."]}


def test_the_devices_of_an_event_send_for_its_people(event: Event) -> None:
    own, other, hidden = (event.ids[who] for who in ("own", "other", "hidden"))
    event.tokens["event"] = made(event.system, "make", "ingest", "--people", f"{own}-{other}")
    sent = [fresh(who) for who in (own, other, hidden)]
    answer = event.ask("event", "POST", "/api/locations", json=sent).json()
    assert [one["status"] for one in answer["results"]] == [202, 202, 404]


def test_who_asks_about_whom_is_noted_whatever_the_door(event: Event) -> None:
    own, other = event.ids["own"], event.ids["other"]
    event.system.sql("TRUNCATE access_question")
    event.ask("person", "GET", f"/api/persons/{own}/encounters?{DAY}")
    event.ask("person", "GET", f"/api/locations?person_id=%2B0{other}")
    event.ask("staff", "GET", "/api/persons")
    event.ask("staff", "GET", f"/api/locations/{other}-{TEN}")
    event.ask("staff", "PATCH", f"/api/persons/{own}", json={"company_name": "Acme"})
    event.ask("ingest", "POST", "/api/locations", json=fresh(own))
    event.ask("service", "GET", f"/api/persons/{own}")
    prefix, service = (str(event.tokens[each]).partition(".")[0] for each in ("person", "service"))
    expected = [
        ("person", f"token {prefix}", "GET encounters", own, "200"),
        ("person", f"token {prefix}", "GET locations", other, "404"),
        ("staff", "user admin", "GET people", None, "200"),
        ("staff", "user admin", "GET location", other, "200"),
        ("staff", "user admin", "PATCH person", own, "200"),
        ("service", f"token {service}", "GET person", own, "403"),
    ]
    if has(event.system.stage or "", 5):
        asked = pb.FindEncountersRequest(**range_of_a_day(own))
        event.grpc("staff", lambda stub, how: list(stub.FindEncounters(asked, timeout=20, metadata=how)))
        event.grpc("service", lambda stub, how: list(stub.FindEncounters(asked, timeout=20, metadata=how)))
        event.grpc("ingest", lambda stub, how: list(stub.FindEncounters(asked, timeout=20, metadata=how)))
        ingest = str(event.tokens["ingest"]).partition(".")[0]
        expected += [
            ("staff", "user admin", "FindEncounters", own, "OK"),
            ("service", f"token {service}", "FindEncounters", None, "PERMISSION_DENIED"),
            ("ingest", f"token {ingest}", "FindEncounters", None, "PERMISSION_DENIED"),
        ]
    with database(event.system.database_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT kind, caller, what, person_id, outcome FROM access_question ORDER BY id")
        assert cursor.fetchall() == expected


# --- tokens that are nobody's any more, and sessions ----------------------------------------------


def test_a_revoked_token_reads_nothing_any_more(event: Event) -> None:
    token = event.tokens["revoked"] = made(event.system, "make", "person", "--people", str(event.ids["own"]))
    path = f"/api/persons/{event.ids['own']}/encounters?{DAY}"
    assert event.ask("revoked", "GET", path).status_code == 200
    made(event.system, "revoke", token.partition(".")[0])
    until(lambda: event.ask("revoked", "GET", path).status_code == 401)


def test_an_expired_token_is_nobodys(event: Event) -> None:
    token = event.tokens["expired"] = made(event.system, "make", "ingest", "--people", str(event.ids["own"]))
    one = fresh(event.ids["own"])
    assert event.ask("expired", "POST", "/api/locations", json=one).status_code == 202
    prefix = token.partition(".")[0]
    event.system.sql(f"UPDATE access_token SET expiry_date = now() WHERE prefix = '{prefix}'")
    until(lambda: event.ask("expired", "POST", "/api/locations", json=one).status_code == 401)


@pytest.mark.parametrize("shown", ["nonsense", "12345678." + "a" * 32, "é", "a.b.c", "\t", "x" * 4000])
def test_what_is_no_token_is_nobodys(event: Event, shown: str) -> None:
    headers = {"Authorization": f"Bearer {shown}".encode()}
    answer = requests.get(event.system.url("/api/persons"), headers=headers, timeout=30)
    assert answer.status_code == 401, answer.text


@pytest.fixture
def signed_in(event: Event) -> Callable[[str], requests.Session]:
    """Somebody of that name who has signed in at the admin site."""

    def enter(name: str) -> requests.Session:
        session = requests.Session()
        login = event.system.url("/admin/login/")
        session.get(login, timeout=30)
        form = {
            "username": name,
            "password": event.system.environ["DJANGO_SUPERUSER_PASSWORD"],
            "csrfmiddlewaretoken": session.cookies["csrftoken"],
        }
        answer = session.post(login, form, headers={"Referer": login}, timeout=30, allow_redirects=False)
        assert answer.status_code == 302, answer.text[:500]
        return session

    return enter


def test_staff_in_a_browser_have_their_session(event: Event, signed_in: Callable) -> None:
    session = signed_in("admin")
    for path in (
        "/api/persons",
        f"/api/persons/{event.ids['other']}/encounters?{DAY}",
        f"/api/locations?person_id={event.ids['other']}",
    ):
        assert session.get(event.system.url(path), timeout=30).status_code == 200, path
    assert session.get(event.system.url("/api/caller"), timeout=30).json() == {
        "kind": "staff",
        "name": "user admin",
    }
    one = ping(event.ids["own"], "15:00:00", BOOTH)
    for path, body in (("/api/persons", NAMES), ("/api/locations", one)):
        url = event.system.url(path)
        assert session.post(url, json=body, timeout=30).status_code == 403  # any page could send it
        headers = {"X-CSRFToken": session.cookies["csrftoken"], "Referer": url}
        assert session.post(url, json=body, headers=headers, timeout=30).status_code in (201, 202)


def test_a_user_without_all_rights_is_no_staff_here(event: Event, signed_in: Callable) -> None:
    name = f"helper-{secrets.token_hex(4)}"
    event.system.run(
        "manage.py",
        "shell",
        "-c",
        "import os; from django.contrib.auth.models import User; User.objects.create_user("
        f"'{name}', password=os.environ['DJANGO_SUPERUSER_PASSWORD'], is_staff=True)",
    )
    session = signed_in(name)
    assert session.get(event.system.url("/api/persons"), timeout=30).status_code == 401


def test_without_tls_only_this_machine_is_let_in(event: Event) -> None:
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.2:{event.system.port(API)}/health", timeout=20)


# --- between processes ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/internal/persons?id=1", "/internal/callers"])
@pytest.mark.parametrize(
    ("caller", "status"),
    [("no token", 401), ("ingest", 403), ("person", 403), ("staff", 403), ("service", 200)],
)
def test_what_processes_ask_each_other_is_for_them_alone(
    event: Event, path: str, caller: str, status: int
) -> None:
    if not has(event.system.stage or "", 1):
        return  # there is nobody to ask but oneself
    token = event.tokens[caller]
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    process = f"http://127.0.0.1:{event.system.processes()['persons'].port}"
    assert requests.get(process + path, headers=headers, timeout=30).status_code == status
    assert requests.get(event.system.url(path, PERSONS), headers=headers, timeout=30).status_code == 404


def test_no_route_leads_to_what_processes_ask_each_other(event: Event) -> None:
    assert event.ask("service", "GET", "/internal/callers").status_code == 404
    assert event.system.url("", API)
