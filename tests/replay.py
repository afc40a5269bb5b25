"""Replays the requests of tests/parity against a system, and writes down what a client sees in answer."""

import dataclasses
import gzip
import http.client
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.gunicorn_server import until
from tests.system import API, APP, System

REQUESTS = Path(__file__).parent / "parity"
LINE = re.compile(r"(\d{3}) ([A-Z]+)(\+?) (\S+)((?: \[[\w-]+: [^]]+\])*)(?: (.+))?")
HEADER = re.compile(r" \[([\w-]+): ([^]]+)\]")
NEXT = re.compile(r'<(/[^>]+)>; rel="next"')
# What a client may act on; the rest is the server's own business or new each time.
COMPARED = re.compile(
    "content-type|content-disposition|link|location|allow|vary|retry-after|cache-control|www-authenticate"
    "|access-control-.*"
)
NEEDS = re.compile(r'"needs":\{[^}]*\}')  # of the process that answers, so another at each stage
TOKEN = re.compile(r"\b[A-Za-z0-9]{64}\b")  # against forged requests; new in each page

FIRST = int(datetime(2026, 5, 12, 10, 13, 20, tzinfo=UTC).timestamp())


def ping(number: int) -> dict[str, object]:
    """One of many, a second and some centimetres apart."""
    moment = datetime.fromtimestamp(FIRST + number, UTC).isoformat()
    return {"person_id": 7, "latitude": 50 + number / 1e6, "longitude": 5, "creation_time": moment}


BODIES = {
    "$FULL": json.dumps([ping(number) for number in range(10_000)]).encode(),
    "$MANY": json.dumps([5] * 10_001).encode(),
    "$LARGE": b" " * (5 * 1024 * 1024 + 1),
    "$BROKEN": b'{"first_name": "\xff"}',
}


@dataclass(frozen=True)
class Request:
    line: str
    status: int
    verb: str
    follow: bool
    path: str
    headers: dict[str, str]
    body: str | None

    @property
    def reads_a_ping(self) -> bool:
        return self.status == 200 and self.path.startswith("/api/locations/")


@dataclass(frozen=True)
class Answer:
    """`text` is what is compared, line by line."""

    request: Request
    status: int
    text: str
    next_path: str | None


def requests() -> list[Request]:
    """All of them, in their order."""
    lines = [line for file in sorted(REQUESTS.glob("*.txt")) for line in file.read_text().splitlines()]
    return [read(line) for line in lines if line and not line.startswith("#")]


def read(line: str) -> Request:
    match = LINE.fullmatch(line)
    assert match, f"This is no request: {line}"
    status, verb, follow, path, headers, body = match.groups()
    return Request(line, int(status), verb, bool(follow), path, dict(HEADER.findall(headers)), body)


class Replay:
    """One client, which gives what is new in each replay a name that is always the same."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.origin = system.url("", APP).removesuffix("/")
        self.names: dict[str, str] = {}
        self.last = ""
        self.sent = False  # a ping, which may not be seen yet

    def run(self) -> Iterator[Answer]:
        for request in requests():
            if request.verb == "GET" and self.sent:
                self.system.settle()  # at once where a ping is stored when it is taken
                self.sent = False
            answer = self.ask_until_there(request) if request.reads_a_ping else self.ask(request)
            yield answer
            while request.follow and answer.next_path:
                answer = self.ask(dataclasses.replace(request, path=answer.next_path))
                yield answer

    def ask_until_there(self, request: Request) -> Answer:
        found: list[Answer] = []

        def there() -> bool:
            found.append(self.ask(request))
            return found[-1].status != 404

        until(there)
        return found[-1]

    def ask(self, request: Request) -> Answer:
        path = self.filled(request.path)
        headers = {name: self.filled(value) for name, value in request.headers.items()}
        if self.system.token:
            headers.setdefault("Authorization", f"Bearer {self.system.token}")
        body = None
        if request.body is not None:
            body = BODIES.get(request.body) or request.body.encode()
            headers.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.system.port(API), timeout=60)
        try:
            chunked = "Transfer-Encoding" in headers
            connection.request(request.verb, path, body, headers, encode_chunked=chunked)
            answer = connection.getresponse()
            content = answer.read()
            if answer.headers.get("Content-Encoding") == "gzip":
                content = gzip.decompress(content)
        finally:
            connection.close()
        self.sent |= answer.status in (202, 207)
        if answer.status == 202 and request.body and request.body.startswith("{"):
            self.learn(request, json.loads(content))
        link = NEXT.fullmatch(answer.headers.get("Link", ""))
        text = self.named("\n".join([f"> {request.line}", *self.lines(answer, content)]))
        return Answer(request, answer.status, text, link and link[1])

    def filled(self, text: str) -> str:
        for name, value in (("$APP", self.origin), ("$LAST", self.last), ("$LONG", "x" * 5000)):
            text = text.replace(name, value)
        return text

    def learn(self, request: Request, taken: dict[str, str]) -> None:
        """A ping without a time has that of its arrival."""
        self.last = taken["id"]
        if "creation_time" not in json.loads(request.body or "{}"):
            name = f"now-{len(self.names) // 2}"
            self.names[taken["id"].partition("-")[2]] = f"<{name} in microseconds>"
            self.names[taken["creation_time"]] = f"<{name}>"

    def lines(self, answer: http.client.HTTPResponse, content: bytes) -> Iterator[str]:
        yield f"{answer.status} {answer.reason}"
        for name, value in sorted((name.lower(), value) for name, value in answer.headers.items()):
            if COMPARED.fullmatch(name):
                yield f"{name}: {in_order(value) if name == 'vary' else value}"
        kind = answer.headers.get("Content-Type", "")
        is_error = answer.status >= 400 or answer.status == 207
        if content and is_error and kind.startswith("application/json"):
            # Which of several faults is named first is not said anywhere.
            content = json.dumps(json.loads(content), sort_keys=True, ensure_ascii=False).encode()
        yield from content.decode().replace("},{", "},\n{").splitlines()

    def named(self, text: str) -> str:
        for value, name in self.names.items():
            text = text.replace(value, name)
        text = NEEDS.sub('"needs":{...}', text)
        return TOKEN.sub("<token>", text).replace(self.origin, "<app>")


def in_order(value: str) -> str:
    return ", ".join(sorted(part.strip().lower() for part in value.split(",")))
