"""Values at the edges of what JSON, HTTP and databases can say."""

import json
from random import Random

# As JSON text, because Python's own writer cannot write all of them.
WRITTEN = """
0 -0 -0.0 1 5 -1 1.5 52.52 13.405 90 -90 90.0000001 180 -180 180.0000001 1e-9 1e-10 1e-155 1e-300
1e-320
5e-324 -5e-324 2.2250738585072014e-308 1e-999999999 1e999999999 1e308 1e309 -1e309 1E400 0.1e-400
123456789012345678 2147483647 2147483648 -2147483649 9007199254740993 9223372036854775807 9223372036854775808
1e18 1e19 1.0 5.0 5e0 -9223372036854775809 18446744073709551616
"""
NUMBERS = [
    *WRITTEN.split(),
    "1" * 400,
    "9" * 5000,
    "0." + "0" * 400 + "1",
    "0." + "3" * 3000,
    "1" + "0" * 300 + ".5",
]
NO_NUMBERS = "NaN Infinity -Infinity 01 +1 .5 5. 0x10 1_000 1,5 -- --1 1e 1e+ tru nul undefined".split()  # noqa: SIM905
TEXTS = (
    "",
    " ",
    "Ann",
    "x" * 255,
    "x" * 256,
    "x" * 70_000,
    "\0",
    "a\0b",
    "\ud800",
    "\udfff\ud800",
    "\U0010ffff",
    "\u202e\u2066",
    "Zoë 中 🐘",
    "e\u0301" * 300,
    "'; DROP TABLE persons_person; --",
    "%s %(a)s {0} {{ a }} %00 %c0%af",
    "../../etc/passwd",
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "a\r\nSet-Cookie: b=c",
    "\x1b[31m\x7f\x85",
    "null",
    "true",
    "5",
    " 5 ",
    "+5",
    "٥",
    "5" * 300,
    "1e-300",
    "NaN",
    "inf",
    "-0.0",
    "5-1778493600000000",
)
TIMES = (
    "2026-05-11",
    "2026-05-12",
    "2026-05-11T10:00:00Z",
    "2026-05-11T11:00:00Z",
    "2026-05-11T10:00:00.123456789+02:00",
    "2026-05-11 10:00",
    "2026-05-11T9:00",
    "2026-05-11T24:00:00Z",
    "2026-05-11T23:59:60Z",
    "2026-02-30",
    "2026-13-01",
    "1899-12-31T23:59:59Z",
    "1900-01-01",
    "2099-12-31T23:59:59.999999Z",
    "2100-01-01",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "10000-01-01",
    "-0001-01-01",
    "2026-05-11T10:00:00+99:99",
    "2026-05-11T10:00:00+24:00",
    "2026-W20-1",
    "2026-131",
    "20260511T100000Z",
    "1778493600",
    "now",
    "2026-05-11T10:00:00 02:00",
    "２０２６-05-11",
)
NAMED = """
utf-8 utf8 UTF-8 utf-16 utf-32 utf-7 latin-1 iso-8859-1 ascii cp1252 big5 shift_jis gb18030 idna punycode
undefined unicode_escape raw_unicode_escape zlib zip bz2 hex rot13 rot_13 base64 uu quopri mbcs oem none
nothing '' ../utf-8 utf-8;charset=hex charmap palmos utf_8_sig
"""
CHARSETS = [
    *NAMED.split(),
    '""',
    '"',
    "",
]


def text(chance: Random) -> str:
    if chance.random() < 0.8:
        return chance.choice(TEXTS)
    return "".join(
        chr(chance.choice((chance.randrange(128), chance.randrange(0x10FFFF))))
        for _ in range(chance.randrange(40))
    )


def number(chance: Random) -> str:
    if chance.random() < 0.7:
        return chance.choice(NUMBERS)
    digits = f"{chance.uniform(-10, 10):.{chance.randrange(20)}f}"
    return f"{digits}e{chance.randrange(-420, 420)}"


def as_json(value: str) -> str:
    """A text as JSON, lone surrogates as escapes."""
    return json.dumps(value)


def any_json(chance: Random, depth: int = 0) -> str:
    """Any JSON value, mostly valid."""
    kind = chance.randrange(10 if depth < 3 else 6)
    if kind < 2:
        return number(chance)
    if kind < 4:
        return as_json(text(chance))
    if kind == 4:
        return chance.choice(("true", "false", "null"))
    if kind == 5:
        return as_json(chance.choice(TIMES)) if chance.random() < 0.8 else chance.choice(NO_NUMBERS)
    if kind < 8:
        return "[" + ",".join(any_json(chance, depth + 1) for _ in range(chance.randrange(4))) + "]"
    items = (f"{as_json(text(chance))}:{any_json(chance, depth + 1)}" for _ in range(chance.randrange(4)))
    return "{" + ",".join(items) + "}"


def nested(chance: Random) -> str:
    depth = chance.choice((50, 500, 5000, 100_000))
    opening, closing = chance.choice((("[", "]"), ('{"a":', "}")))
    return opening * depth + chance.choice(("", "1", "1" + closing * depth))


def double(chance: Random) -> float:
    """Any IEEE double."""
    if chance.random() < 0.3:
        return chance.choice((float("nan"), float("inf"), float("-inf"), 5e-324, 1e-300, -0.0, 1e-155, 1e308))
    return chance.choice(
        (chance.uniform(-90, 90), chance.uniform(-1000, 1000), 10.0 ** chance.randrange(-320, 308))
    )


def integer(chance: Random, known: list[int]) -> int:
    edges = (0, -1, 1, 2**31 - 1, 2**31, 2**63 - 1, -(2**63), chance.getrandbits(62))
    return chance.choice(known) if chance.random() < 0.5 else chance.choice(edges)
