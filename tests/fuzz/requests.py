"""REST inputs: requests as bytes, made from a seed and a number."""

import re
from dataclasses import dataclass, replace
from random import Random
from urllib.parse import quote

from tests.fuzz.values import CHARSETS, NO_NUMBERS, TIMES, any_json, as_json, nested, number, text

METHODS = (
    ["GET"] * 8
    + ["POST"] * 7
    + ["PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "get", "FOO", "CONNECT"]
)
PATHS = (
    "/api/persons",
    "/api/persons",
    "/api/persons/{id}",
    "/api/persons/{id}",
    "/api/persons/{id}/connection",
    "/api/persons/{id}/encounters",
    "/api/persons/{id}/encounters",
    "/api/persons/{id}/consent",
    "/api/persons/{id}/export",
    "/api/locations",
    "/api/locations",
    "/api/locations",
    "/api/locations/{id}-{time}",
    "/api/event",
    "/api/zones",
    "/api/zones/visits",
    "/api/days",
    "/api/positions",
    "/api/heat",
    "/api/webhooks",
    "/api/webhooks/{id}",
    "/api/encounters",
    "/api/encounters",
    "/api/encounters/summary",
    "/api/encounters/graph",
    "/api/encounters/cascade",
    "/api/caller",
    "/api/schema",
    "/api/docs",
    "/api",
    "/api/",
    "/",
    "/persons",
    "/health",
    "/health/ready",
    "/internal/persons",
    "/admin/",
    "/admin/login/",
    "/static/x.js",
    "/api/{text}",
    "/{text}",
)
PARAMETERS = (
    *("id", "search", "limit", "after", "person_id", "start", "end", "bbox", "start_date", "end_date"),
    *("distance", "within", "max_gap", "min_duration", "order", "format", "Limit", "limit[]", "nothing"),
)
CALLS = (
    *[("POST", "/api/locations")] * 4,
    ("POST", "/api/persons"),
    ("GET", "/api/persons"),
    ("GET", "/api/persons/{id}"),
    ("PATCH", "/api/persons/{id}"),
    ("PUT", "/api/persons/{id}"),
    ("PUT", "/api/persons/{id}/consent"),
    ("GET", "/api/persons/{id}/export"),
    *[("GET", "/api/persons/{id}/connection")] * 2,
    *[("GET", "/api/persons/{id}/encounters")] * 3,
    *[("GET", "/api/locations")] * 2,
    ("GET", "/api/locations/{id}-{time}"),
    ("PUT", "/api/event"),
    ("PUT", "/api/zones"),
    ("GET", "/api/zones/visits"),
    ("GET", "/api/days"),
    ("GET", "/api/positions"),
    ("GET", "/api/heat"),
    ("POST", "/api/webhooks"),
    *[("GET", "/api/encounters")] * 2,
    ("GET", "/api/encounters/summary"),
    ("GET", "/api/encounters/graph"),
    ("GET", "/api/encounters/cascade"),
)
PARAMETERS_OF = {
    "/api/persons": ("id", "search", "limit", "after"),
    "/api/locations": ("person_id", "start", "end", "bbox", "limit", "after", "order"),
    "/api/days": ("person_id", "time_zone"),
    "/api/positions": ("at", "max_age", "bbox"),
    "/api/heat": ("start", "end", "cell_m"),
    "/api/persons/{id}/connection": (
        *("start_date", "end_date", "distance", "within"),
        *("max_accuracy", "limit", "after"),
    ),
    "/api/persons/{id}/encounters": (
        *("start_date", "end_date", "distance", "within"),
        *("max_gap", "min_duration", "max_accuracy", "limit", "after"),
    ),
    "/api/encounters": (
        *("start_date", "end_date", "person_id", "company", "zone"),
        *("min_duration", "limit", "after"),
    ),
    "/api/encounters/summary": ("start_date", "end_date", "by", "min_duration", "limit"),
    "/api/encounters/graph": ("start_date", "end_date", "min_duration"),
    "/api/encounters/cascade": ("start_date", "end_date", "person_id", "depth", "min_duration"),
    "/api/zones/visits": ("start_date", "end_date", "max_gap", "min_duration"),
}
FIELDS = {
    "consent": ("findable",),
    "event": ("name", "time_zone", "first_day", "last_day", "bounds"),
    "zones": ("type", "features"),
    "locations": ("person_id", "latitude", "longitude", "creation_time", "accuracy"),
    "persons": ("first_name", "last_name", "company_name"),
    "webhooks": ("url", "events", "person_id", "company", "min_duration"),
}
ACCEPTS = ["application/json"] * 6 + [
    "*/*",
    "application/*",
    "text/html,application/xhtml+xml,*/*;q=0.8",
    "text/csv",
    "application/geo+json",
    "application/json;q=abc",
    "application/json; indent=99999999999",
    "image/png",
    "",
    ";",
    "application/json;version=\0",
    "a/b" * 2000,
]
KINDS = ["application/json"] * 8 + [
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "multipart/form-data; boundary=x",
    "multipart/form-data; boundary=" + "x" * 300,
    "application/xml",
    'application/json; profile="a',
    "application/json;;;",
    "/",
    "",
    "json",
]
CODINGS = ["gzip", "identity", "br", "gzip;q=abc", "*;q=0", "gzip" * 2000]
OTHER_HEADERS = (
    "X-Forwarded-For: 10.0.0.1, {text}",
    "X-Forwarded-Proto: https",
    "Forwarded: for={text}",
    "X-Request-ID: {text}",
    "X-Timeout: {number}",
    "X-HTTP-Method-Override: DELETE",
    "Content-Encoding: gzip",
    "Content-Language: {text}",
    "Content-Range: bytes 0-1/2",
    "Range: bytes={number}-",
    "If-None-Match: {text}",
    "If-Modified-Since: {text}",
    "Cookie: sessionid={text}; csrftoken={text}",
    "Cookie: {text}",
    "Origin: http://{text}",
    "Origin: null",
    "Referer: {text}",
    "Host: {text}",
    "Accept-Language: {text}",
    "Expect: 100-continue",
    "Expect: {text}",
    "Upgrade: h2c",
    "Connection: keep-alive, {text}",
    "TE: trailers",
    "{text}: {text}",
)
FIELD = re.compile(r"\{(\w+)\}")
SCHEMES = ("Bearer", "Bearer", "bearer", "BEARER", "Token", "Basic", "Bearer ", "")


@dataclass(frozen=True)
class Input:
    """A request. `whole` is false if its bytes were changed, so that the server may wait for more of it."""

    line: bytes
    headers: tuple[bytes, ...]
    body: bytes
    whole: bool = True
    mutation: int | None = None  # seed of the change of its bytes

    def wire(self) -> bytes:
        sent = b"\r\n".join((self.line, *self.headers)) + b"\r\n\r\n" + self.body
        return sent if self.mutation is None else changed(Random(self.mutation), sent)

    @property
    def path(self) -> bytes:
        return [*self.line.split(b" "), b"", b""][1]

    @property
    def wants_json(self) -> bool:
        """As a server may read it: what follows an empty line is no header."""
        lines = re.split(rb"\r?\n\r?\n", self.wire(), maxsplit=1)[0].splitlines()
        return [one for one in lines if one.startswith(b"Accept:")] == [b"Accept: application/json"]

    def smaller(self) -> list["Input"]:
        """The same with something left out, for the smallest one that still fails."""
        found = [
            replace(self, headers=self.headers[:place] + self.headers[place + 1 :])
            for place, header in enumerate(self.headers)
            if not header.startswith((b"Host:", b"Connection:", b"Content-Length:"))
        ]
        if self.body and self.whole:
            for body in {b"", self.body[: len(self.body) // 2]} - {self.body}:
                headers = [one for one in self.headers if not one.startswith(b"Content-Length:")]
                found.append(
                    replace(self, headers=(*headers, f"Content-Length: {len(body)}".encode()), body=body)
                )
        method, target, version = [*self.line.split(b" ", 2), b"", b""][:3]
        path, _, query = target.partition(b"?")
        parts = query.split(b"&") if query else []
        for place in range(len(parts)):
            left = b"&".join(parts[:place] + parts[place + 1 :])
            found.append(
                replace(self, line=b" ".join((method, path + (b"?" + left if left else b""), version)))
            )
        return found


@dataclass(frozen=True)
class Vocabulary:
    """What of the running system the inputs speak of."""

    host: str
    tokens: list[str]
    ids: list[int]  # of people whom nobody misses


def make(seed: int, index: int, words: Vocabulary) -> Input:
    chance = Random(f"{seed}:{index}")
    if chance.random() < 0.5:
        return nearly_good(chance, words)
    method = chance.choice(METHODS)
    template = chance.choice(PATHS)
    path = filled(chance, template, words)
    if chance.random() < 0.05:
        path += chance.choice(ENDINGS)
    target = path + query(chance, words)
    body = b""
    if method in ("POST", "PUT", "PATCH") or chance.random() < 0.03:
        body = made_body(chance, template, words)
    headers = made_headers(chance, words, bool(body))
    if body or method in ("POST", "PUT", "PATCH"):
        headers.append(f"Content-Length: {len(body)}")
    line = f"{method} {target} HTTP/1.1"
    kept = Input(encoded(line), tuple(encoded(one) for one in headers), body)
    if chance.random() < 0.2:
        return replace(kept, whole=False, mutation=chance.getrandbits(32))
    return kept


def nearly_good(chance: Random, words: Vocabulary) -> Input:
    """What a client may send, with one or two odd values: it gets further than what is odd all over."""
    method, template = chance.choice(CALLS)
    path = template.replace("{id}", str(chance.choice(words.ids))).replace("{time}", "1778493600000000")
    start, end = sorted(chance.choice(TIMES[:4]) for _ in range(2))
    values = {}
    for names in (("start", "end"), ("start_date", "end_date")):
        if names[0] in PARAMETERS_OF.get(template, ()):
            values |= dict(zip(names, (start, end), strict=True))
    if "at" in PARAMETERS_OF.get(template, ()):
        values["at"] = chance.choice(TIMES[2:4])
    if method == "GET" and template in PARAMETERS_OF:
        for _ in range(chance.choice((0, 1, 1, 2))):
            values[chance.choice(PARAMETERS_OF[template])] = parameter(chance, words)
    parts = [f"{name}={quoted(chance, one)}" for name, one in values.items()]
    target = path + ("?" + "&".join(parts) if parts else "")
    body = made_body(chance, template, words) if method in ("POST", "PUT", "PATCH") else b""
    headers = [
        f"Host: {words.host}",
        "Connection: close",
        "Accept: application/json",
        f"Authorization: Bearer {chance.choice(words.tokens)}",
        *(["Content-Type: application/json"] if body else []),
        f"Content-Length: {len(body)}",
    ]
    return Input(encoded(f"{method} {target} HTTP/1.1"), tuple(encoded(one) for one in headers), body)


def encoded(line: str) -> bytes:
    return line.encode("utf-8", "surrogatepass").replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"")


def filled(chance: Random, template: str, words: Vocabulary) -> str:
    def value(found: re.Match[str]) -> str:
        if found[1] == "id" and chance.random() < 0.7:
            return str(chance.choice(words.ids))
        if found[1] == "time" and chance.random() < 0.5:
            return "1778493600000000"
        return quoted(chance, text(chance) if found[1] == "text" else number(chance))

    return FIELD.sub(value, template)


def quoted(chance: Random, value: str) -> str:
    """Percent-encoded, seldom raw."""
    if chance.random() < 0.1:
        return "".join(one for one in value if one > " ")[:2000]
    return quote(value.encode("utf-8", "surrogatepass")[:2000], safe="")


def query(chance: Random, words: Vocabulary) -> str:
    if chance.random() < 0.25:
        return ""
    if chance.random() < 0.02:
        return "?" + chance.choice(QUERIES)
    parts = []
    if chance.random() < 0.5:
        start, end = sorted(chance.choice(TIMES[:4]) for _ in range(2))
        names = chance.choice((("start", "end"), ("start_date", "end_date")))
        parts += [f"{names[0]}={quote(start)}", f"{names[1]}={quote(end)}"]
    for _ in range(chance.randrange(4)):
        name = chance.choice(PARAMETERS) if chance.random() < 0.95 else quoted(chance, text(chance))
        parts.append(f"{name}={quoted(chance, parameter(chance, words))}")
    chance.shuffle(parts)
    return "?" + "&".join(parts) if parts else ""


def parameter(chance: Random, words: Vocabulary) -> str:
    kind = chance.randrange(6)
    if kind == 0:
        return number(chance)
    if kind == 1:
        return str(chance.choice(words.ids))
    if kind == 2:
        return chance.choice(TIMES)
    if kind == 3:
        return ",".join(number(chance) for _ in range(chance.choice((4, 4, 3, 5))))
    if kind == 4:
        return text(chance)
    return chance.choice(("json", "api", "csv", "newest", "oldest", "1", "10000", "10001", *NO_NUMBERS))


def made_headers(chance: Random, words: Vocabulary, has_body: bool) -> list[str]:
    headers = [f"Host: {words.host}", "Connection: close", f"Accept: {chance.choice(ACCEPTS)}"]
    if chance.random() < 0.05:
        headers.pop()
    if chance.random() < 0.9:
        token = chance.choice(words.tokens) if chance.random() < 0.95 else text(chance)
        scheme = "Bearer" if chance.random() < 0.9 else chance.choice(SCHEMES)
        headers.append(f"Authorization: {scheme} {token}")
    if has_body or chance.random() < 0.1:
        kind = chance.choice(KINDS)
        if chance.random() < 0.3:
            kind += f"; charset={chance.choice(CHARSETS)}"
        headers.append(f"Content-Type: {kind}")
    if chance.random() < 0.2:
        headers.append(f"Accept-Encoding: {chance.choice(CODINGS)}")
    for _ in range(chance.choice((0, 0, 0, 1, 2))):
        header = chance.choice(OTHER_HEADERS)
        headers.append(FIELD.sub(lambda found: value(chance, found[1]), header))
    return headers


def value(chance: Random, kind: str) -> str:
    return text(chance)[:3000] if kind == "text" else number(chance)


def made_body(chance: Random, template: str, words: Vocabulary) -> bytes:
    kind = chance.random()
    if kind < 0.05:
        return nested(chance).encode()
    if kind < 0.1:
        return chance.randbytes(chance.randrange(200))
    if kind < 0.2:
        return any_json(chance).encode("utf-8", "surrogatepass")
    fields = next((fields for name, fields in FIELDS.items() if name in template), FIELDS["persons"])
    items = [item(chance, fields, words) for _ in range(chance.choice((1, 1, 1, 2, 50)))]
    content = items[0] if len(items) == 1 else "[" + ",".join(items) + "]"
    if chance.random() < 0.03:
        content = chance.choice(("\ufeff" + content, content + "x", content[:-3], "{}", "[]", content * 2))
    return content.encode(chance.choice(("utf-8",) * 9 + ("utf-16",)), "surrogatepass")


def item(chance: Random, fields: tuple[str, ...], words: Vocabulary) -> str:
    """An object with mostly good fields."""
    good = {
        "person_id": str(chance.choice(words.ids)),
        # Not far from each other, so that there is somebody to be near to.
        "latitude": f'"{chance.choice((0.0, 52.52)) + chance.uniform(-1e-5, 1e-5)}"',
        "longitude": str(chance.choice((0.0, 13.405)) + chance.uniform(-1e-5, 1e-5)),
        "creation_time": as_json(chance.choice(TIMES[:5])),
        "accuracy": str(chance.choice((3.3, 12.5, "null"))),
        "findable": chance.choice(("true", "false")),
    }
    values = {name: good.get(name, '"Ann"') for name in fields}
    for _ in range(chance.choice((0, 1, 1, 2, 4))):
        name = chance.choice(fields) if chance.random() < 0.9 else text(chance)
        values[name] = chance.choice((number, any_json, lambda one: as_json(number(one)), a_time))(chance)
    if chance.random() < 0.1:
        values.pop(chance.choice(sorted(values)))
    return "{" + ",".join(f"{as_json(name)}:{value}" for name, value in values.items()) + "}"


def a_time(chance: Random) -> str:
    return as_json(chance.choice(TIMES))


def changed(chance: Random, sent: bytes) -> bytes:
    """The bytes of a request with something in them that HTTP does not allow, or hardly."""
    head, _, body = sent.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    kind = chance.randrange(9)
    if kind == 0:
        for _ in range(chance.randrange(1, 6)):
            place = chance.randrange(len(sent))
            sent = (
                sent[:place]
                + chance.choice((b"", chance.randbytes(1), chance.randbytes(9)))
                + sent[place + 1 :]
            )
        return sent
    if kind == 1:
        lines.insert(chance.randrange(1, len(lines) + 1), chance.choice(LINES))
    elif kind == 2:
        lines[0] = chance.choice(FIRST_LINES)
    elif kind == 3:
        place = chance.randrange(len(lines[0]))
        lines[0] = (
            lines[0][:place] + bytes([chance.choice((0, 1, 9, 11, 32, 127, 128, 255))]) + lines[0][place:]
        )
    elif kind == 4:
        lines += [
            b"X-%d: %s" % (number, b"a" * chance.choice((1, 100)))
            for number in range(chance.choice((90, 150, 600)))
        ]
    elif kind == 5:
        lines.append(b"X-Large: " + b"a" * chance.choice((8000, 17_000, 33_000, 70_000)))
    elif kind == 6:
        lines = [one for one in lines if not one.startswith((b"Content-Length", b"Host"))]
    elif kind == 7:
        lines = [one for one in lines if not one.startswith(b"Content-Length")]
        lines.append(b"Transfer-Encoding: chunked")
        body = chance.choice(CHUNKS)
    else:
        return chance.choice((b"\n", b"\r", b"\r\n\n")).join(lines) + b"\r\n\r\n" + body
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


ENDINGS = (
    *("/", "//", "/..", "/.", ";a=b", "%2f", "%00", "%c0%ae", "%", "%zz", "\x80", "?", "#a"),
    "/" * 3000,
)
QUERIES = ("&" * 3000, "id=5&" * 1500, "a" * 9000, "=", "%", "limit", "limit=%ff%fe", "%00=1")
LINES = (
    b"Content-Length: 5",
    b"Content-Length: -1",
    b"Content-Length: +5",
    b"Content-Length: abc",
    b"Content-Length: 99999999999999999999",
    b"Content-Length: 0x10",
    b"Content-Length: 5, 5",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding:\x0bchunked",
    b" folded: line",
    b"no colon",
    b": no name",
    b"A\x00B: c",
    b"A: b\x00c",
    b"A B: c",
    b"Host: a\r\nHost: b",
    b"Authorization: Bearer a\r\nAuthorization: Bearer b",
    b"Connection: close, X-Forwarded-For, Authorization",
)
FIRST_LINES = (
    b"OPTIONS * HTTP/1.1",
    b"GET * HTTP/1.1",
    b"GET http://127.0.0.1/api/persons HTTP/1.1",
    b"GET //evil/api/persons HTTP/1.1",
    b"GET api/persons HTTP/1.1",
    b"GET /api/persons HTTP/1.0",
    b"GET /api/persons HTTP/0.9",
    b"GET /api/persons HTTP/2.0",
    b"GET /api/persons HTTP/9.9",
    b"GET /api/persons",
    b"GET /api/persons?search=a b HTTP/1.1",
    b"GET  /api/persons HTTP/1.1",
    b"GET\t/api/persons\tHTTP/1.1",
    b"/api/persons HTTP/1.1",
    b" GET /api/persons HTTP/1.1",
    b"G\xc3\x84T /api/persons HTTP/1.1",
    b"CONNECT 127.0.0.1:22 HTTP/1.1",
    b"PRI * HTTP/2.0",
    b"GET /" + b"a" * 20_000 + b" HTTP/1.1",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"",
)
CHUNKS = (
    b"5\r\n[]   \r\n0\r\n\r\n",
    b"2\r\n[]\r\n0\r\nX: y\r\n\r\n",
    b"zz\r\n[]\r\n0\r\n\r\n",
    b"-1\r\n[]\r\n0\r\n\r\n",
    b"ffffffffffffffff\r\n[]",
    b"2;" + b"a" * 20_000 + b"\r\n[]\r\n0\r\n\r\n",
    b"0" * 9000 + b"2\r\n[]\r\n0\r\n\r\n",
    b"2\n[]\n0\n\n",
    b"0\r\n\r\nGET /api/persons HTTP/1.1\r\n\r\n",
)
