"""The log stays readable under attack."""

import logging
import re

import pytest

from connect.logs import ClientErrorRateLimit, TruncatingFormatter, throttled
from tests.gunicorn_server import Server


def record(status: int, path: str = "/api/nothing") -> logging.LogRecord:
    made = logging.LogRecord("django.request", logging.WARNING, __file__, 1, "Refused: %s", (path,), None)
    made.status_code = status
    return made


def test_client_errors_are_rate_limited_and_server_errors_are_not() -> None:
    now = 0.0
    rate_limit = ClientErrorRateLimit(every_s=60, clock=lambda: now)
    assert rate_limit.filter(record(401))
    assert not any(rate_limit.filter(record(401)) for _ in range(1234))
    assert rate_limit.filter(record(404))
    assert all(rate_limit.filter(record(500)) for _ in range(3))
    now = 60.0
    last = record(401, "/api/100%")
    assert rate_limit.filter(last)
    assert last.getMessage() == "Refused: /api/100% (status 401: 1,234 more before)"
    now = 120.0
    assert rate_limit.filter(last := record(401))
    assert last.getMessage() == "Refused: /api/nothing"


def test_a_throttled_logger_repeats_each_kind_of_line_every_10_s(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    logger = throttled(f"{__name__}.throttled", clock=lambda: now)
    for now in (0.0, 4.0, 9.9, 10.0, 19.9):
        logger.warning("_TRANSPORT: at %s s", now)
        logger.warning("_TIMED_OUT: at %s s", now)
    assert caplog.messages == [
        f"{kind}: at {second} s" for second in (0.0, 10.0) for kind in ("_TRANSPORT", "_TIMED_OUT")
    ]


def test_a_long_message_is_truncated() -> None:
    line = TruncatingFormatter("%(levelname)s %(message)s").format(record(404, "/" + 8000 * "x"))
    assert re.fullmatch(r"WARNING Refused: /x{490}… \(7510 more characters\)", line)


def test_a_flood_of_refused_requests_writes_a_few_short_lines() -> None:
    with Server(WEB_WORKERS="1") as server:
        for n in range(300):
            assert server.get(f"/nothing/{n}/{3000 * 'x'}").status_code == 404
        output = server.output()
    assert output.count("Not Found") == 1
    assert max(map(len, output.splitlines())) < 700
