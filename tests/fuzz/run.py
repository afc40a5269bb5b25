"""Sends inputs to a running system and says which answers no client should get."""

import re
import socket
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Thread
from typing import Any, TypeVar

import grpc

from tests.attacks.filling import make_tokens
from tests.attacks.footprint import footprint
from tests.fuzz import messages, requests
from tests.fuzz.messages import SERVICE, Call
from tests.fuzz.requests import Input, Vocabulary
from tests.system import API, LOCATIONS, PERSONS, STAGES, System, at

THREADS = 16
HANG_S = 20  # a whole request is answered in this time
BROKEN_S = 0.5  # for a request that may not be whole: the server is right to wait for the rest
PROGRESS = 1000
SMALLER = 100  # tries to make a failing input smaller
GOOD_CODES = {
    "OK",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "UNIMPLEMENTED",
}
PAGES = re.compile(rb"(https?:/)?/*(admin|static|api/docs|api/redoc|api/schema)")

T = TypeVar("T", Input, Call)


@dataclass
class Report:
    """How often each status was answered, and every failure with the input that shows it."""

    statuses: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def lines(self) -> str:
        counted = ", ".join(f"{status}: {count:,}" for status, count in sorted(self.statuses.items()))
        return "\n".join([counted, *self.failures])


class Fuzz:
    """One system at the last stage, with people of whom inputs speak and a token of each kind."""

    def __init__(self, system: System, seed: int) -> None:
        system.go(STAGES[-1])
        self.system, self.seed = system, seed
        with at(system.database_url) as connection, connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO persons_person (first_name, last_name, company_name) "
                "SELECT 'Fuzz', 'Ed', 'Inputs' FROM generate_series(1, 201) RETURNING id"
            )
            own, *ids = (row[0] for row in cursor.fetchall())
        assert system.token is not None
        tokens = [system.token, *make_tokens(system, [("ingest", own), ("person", own)])]
        self.words = Vocabulary(f"127.0.0.1:{system.port(API)}", [tokens[0], *tokens], ids)
        self.pids = footprint(system.instance).pids

    def send_rest(self, indexes: Iterable[int], *, port: int | None = None) -> Report:
        """Every tenth input goes to persons directly."""

        def make(index: int) -> tuple[Input, Callable[[Input], tuple[str, str | None]]]:
            to = self.system.port(PERSONS if index % 10 == 9 else API) if port is None else port
            return requests.make(self.seed, index, self.words), lambda one: self._ask(one, to)

        return self._all("rest", indexes, make, lambda one: repr(one.wire()[:3000]))

    def send_grpc(self, indexes: Iterable[int]) -> Report:
        options = [("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", -1)]
        with grpc.insecure_channel(f"127.0.0.1:{self.system.port(LOCATIONS)}", options) as channel:

            def make(index: int) -> tuple[Call, Callable[[Call], tuple[str, str | None]]]:
                return messages.make(self.seed, index, self.words), lambda one: self._call(one, channel)

            return self._all("grpc", indexes, make, Call.described)

    def restarted(self) -> int:
        """How many of the processes that were there at the beginning are gone."""
        return len(self.pids - footprint(self.system.instance).pids)

    def _all(
        self,
        kind: str,
        indexes: Iterable[int],
        make: Callable[[int], tuple[T, Callable[[T], tuple[str, str | None]]]],
        describe: Callable[[T], str],
    ) -> Report:
        report = Report()

        def one(index: int) -> None:
            given, ask = make(index)
            status, fault = ask(given)
            report.statuses[status] += 1
            if fault is not None:
                least = smallest(given, ask, fault)
                report.failures.append(f"{kind} {self.seed}:{index}: {fault}\n    {describe(least)}")

        with ThreadPoolExecutor(THREADS) as pool:
            for done, _ in enumerate(pool.map(one, indexes), 1):
                if done % PROGRESS == 0:
                    print(f"{kind}: {done:,} inputs, {len(report.failures)} failures", flush=True)
        return report

    def _ask(self, given: Input, port: int) -> tuple[str, str | None]:
        """The status, and what is wrong with the answer."""
        try:
            answer = exchange(port, given.wire(), HANG_S if given.whole else BROKEN_S)
        except TimeoutError:
            return ("hang", f"no answer in {HANG_S} s") if given.whole else ("waits", None)
        if not answer:
            return "closed", "closed without an answer" if given.whole else None
        return judged(given, answer)

    def _call(self, given: Call, channel: grpc.Channel) -> tuple[str, str | None]:
        ask: Any = channel.stream_stream(SERVICE + given.method)
        metadata = [("authorization", f"Bearer {given.token}")] if given.token else []
        try:
            for _ in ask(iter(given.messages), timeout=HANG_S, metadata=metadata):
                pass
        except grpc.RpcError as error:
            code, details = error.code().name, error.details()
            if code in GOOD_CODES:
                return code, None
            return code, f"{code}: {details}"
        return "OK", None


def exchange(port: int, sent: bytes, within_s: float) -> bytes:
    """All that comes until the connection ends. It reads while it sends: a refusal may come early."""

    def send() -> None:
        with suppress(OSError):
            connection.sendall(sent)

    with socket.create_connection(("127.0.0.1", port), timeout=within_s) as connection:
        received = b""
        sender = Thread(target=send)
        sender.start()
        try:
            while chunk := connection.recv(65536):
                received += chunk
        except ConnectionResetError:
            pass
        except TimeoutError:
            if not received:
                raise
        finally:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            sender.join()
        return received


def judged(given: Input, answer: bytes) -> tuple[str, str | None]:
    while answer.startswith(b"HTTP/1.1 100"):
        answer = answer.partition(b"\r\n\r\n")[2]
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    found = re.match(r"HTTP/1\.[01] (\d{3})", first)
    if not found:
        return "no HTTP", f"no HTTP: {answer[:200]!r}"
    status = int(found[1])
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if status >= 500 and not (status == 503 and "retry-after" in headers):
        return str(status), f"{status}: {body[:300]!r}"
    kind = headers.get("content-type", "")
    if given.wants_json and body and not PAGES.match(given.path) and "json" not in kind:
        return str(status), f"{status} is {kind or 'of no type'} for a client of JSON: {body[:200]!r}"
    return str(status), None


def smallest(given: T, ask: Callable[[T], tuple[str, str | None]], fault: str) -> T:
    """Leaves out what is not needed for the same kind of failure."""
    tries = 0
    kind = fault.partition(":")[0]
    progress = True
    while progress and tries < SMALLER:
        progress = False
        for less in given.smaller():
            tries += 1
            _, seen = ask(less)  # type: ignore[arg-type]
            if seen is not None and seen.partition(":")[0] == kind:
                given, progress = less, True  # type: ignore[assignment]
                break
    return given
