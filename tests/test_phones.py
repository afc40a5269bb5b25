"""The apps of phones through the proxy, with tokens, at the first stage and at the last."""

import base64
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import requests

from phones.tests.messages import ANSWERS, Message, all_messages
from tests.gunicorn_server import until
from tests.system import STAGES, System
from tests.system import at as database
from tests.test_access import made
from tests.test_journey import make_person

COUNTS = "SELECT app, person_id, reason, sum(count) FROM phones_refusedpoints GROUP BY app, person_id, reason"


def send(system: System, message: Message, token: str) -> requests.Response:
    body, query = message.body.replace(b"TOKEN", token.encode()), message.query.replace("TOKEN", token)
    basic = f"Basic {base64.b64encode(f'finn:{token}'.encode()).decode()}"
    header = {"overland": f"Bearer {token}", "osmand": ""}.get(message.app, basic)
    headers = {"Content-Type": message.content_type, "Authorization": header}
    return requests.request(
        message.method,
        system.url(f"/api/phones/{message.app}"),
        params=query,
        data=body,
        headers={name: value for name, value in headers.items() if value},
        timeout=30,
    )


@pytest.mark.parametrize("stage", [STAGES[0], STAGES[-1]])
def test_every_message_of_every_app(guarded: System, stage: str) -> None:
    guarded.go(stage)
    guarded.empty()
    guarded.sql("TRUNCATE phones_refusedpoints")
    finn = make_person(guarded, "Finn")
    token = made(guarded, "make", "ingest", "--people", str(finn))
    latest = datetime.now(UTC).replace(microsecond=0)
    number = len(all_messages(latest, "TOKEN"))
    expected: list[tuple[str, float | None]] = []
    refused: Counter[tuple[str, int, str]] = Counter()

    for index in range(number):
        moment = latest - timedelta(seconds=index)
        message = all_messages(moment, "TOKEN")[index]
        answer = send(guarded, message, token)
        assert (answer.status_code, answer.text) == (200, ANSWERS[message.app].replace(" ", "")), message.kind
        expected += [(moment.strftime("%Y-%m-%dT%H:%M:%SZ"), radius) for radius in message.stored[:1]]
        refused.update((message.app, finn, reason) for reason in message.refused)

    def stored() -> list[tuple[str, float | None]]:
        found = guarded.get(f"/api/locations?person_id={finn}&order=newest").json()
        return [(each["creation_time"], each["accuracy"]) for each in found]

    until(lambda: len(stored()) >= len(expected))
    assert stored() == expected
    with database(guarded.database_url) as connection, connection.cursor() as cursor:
        cursor.execute(COUNTS)
        assert {row[:3]: int(row[3]) for row in cursor.fetchall()} == dict(refused)


def test_phones_behind_one_address_are_counted_by_their_token(guarded: System) -> None:
    """In all styles of OsmAnd: otherwise a hundred phones of a hall would share the limit of its address."""
    guarded.go(STAGES[-1])
    guarded.empty()
    finn = make_person(guarded, "Finn")
    token = made(guarded, "make", "ingest", "--people", str(finn))
    now = datetime.now(UTC)
    styles = [
        next(each for each in all_messages(now, "TOKEN") if each.kind == kind)
        for kind in ("OsmAnd's template", "a form", "Traccar Client: JSON", "query by POST")
    ]
    for message in styles:
        assert send(guarded, message, token).status_code == 200  # from now on it is counted by its token
    with ThreadPoolExecutor(4) as crowd:
        calls = [(message, token) for message in styles for _ in range(400)]
        statuses = Counter(crowd.map(lambda call: send(guarded, *call).status_code, calls))
    assert statuses == {200: len(calls)}
    nobody = [send(guarded, styles[0], token[:-4] + "aaaa").status_code for _ in range(3)]
    assert nobody == [401] * 3
