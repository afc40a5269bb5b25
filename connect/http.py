"""HTTP calls from one process to another: pooled connections, timeouts, bounded retries, one exception.

Only the http clients of the apps use this module. Their calls read, or write to the audit log, where a
duplicate is harmless. So a failed or broken connection is retried. Read timeouts are not retried: the
deadline is spent.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, Self
from urllib.parse import urlencode

import orjson
import urllib3
from django.conf import settings

from access.callers import NOTED
from connect import bulkhead, request_context
from connect.errors import NeighbourUnavailable, QuestionTooLarge

CONNECT_TIMEOUT_S = 2.0
LIVENESS_TIMEOUT_S = 1.0
NO_HEADERS: Mapping[str, str] = {}
JSON = {"Content-Type": "application/json"}
ROWS_READ_TIMEOUT_S = 60.0  # between two reads of streamed rows; the whole response may take longer


class _Retry(urllib3.Retry):
    def increment(self, *args: Any, **kwargs: Any) -> Self:
        if isinstance(kwargs.get("error"), urllib3.exceptions.ReadTimeoutError):
            raise kwargs["error"]
        return super().increment(*args, **kwargs)


RETRIES = _Retry(connect=3, read=1, status=0, redirect=0, other=0, backoff_factor=0.1, allowed_methods=None)


@cache
def _pool() -> urllib3.PoolManager:
    return urllib3.PoolManager(
        maxsize=settings.WEB_THREADS,
        retries=RETRIES,
    )


def _headers(read_timeout_s: float) -> dict[str, str]:
    headers = {
        "Accept": "application/json, application/x-ndjson",
        request_context.REQUEST_ID: request_context.request_id(),
        request_context.TIMEOUT_S: f"{read_timeout_s:.3f}",
        NOTED: "1",
    }
    if settings.SERVICE_TOKEN:
        headers["Authorization"] = f"Bearer {settings.SERVICE_TOKEN}"
    return headers


@contextmanager
def _request(
    url: str,
    query: list[tuple[str, str]],
    *,
    read_timeout_s: float,
    preload: bool,
    extra_headers: Mapping[str, str],
    body: bytes | None = None,
) -> Iterator[urllib3.BaseHTTPResponse]:
    read_timeout_s = request_context.seconds_left(read_timeout_s)
    timeout = urllib3.Timeout(connect=min(CONNECT_TIMEOUT_S, read_timeout_s), read=read_timeout_s)
    headers = {**_headers(read_timeout_s), **extra_headers}
    try:
        with bulkhead.slot():
            if query:
                url = f"{url}?{urlencode(query)}"
            response = _pool().request(
                "GET" if body is None else "POST",
                url,
                body=body,
                headers=headers,
                timeout=timeout,
                preload_content=preload,
            )
    except urllib3.exceptions.HTTPError as error:
        raise NeighbourUnavailable(f"{url}: {error}") from error
    try:
        yield response
    except (urllib3.exceptions.HTTPError, orjson.JSONDecodeError) as error:
        raise NeighbourUnavailable(f"{url}: {error}") from error
    finally:
        # A connection whose response was not read to the end cannot be reused.
        response.drain_conn() if preload else response.close()


def _encoded(headers: Mapping[str, str], body: Any) -> tuple[Mapping[str, str], bytes | None]:
    """The headers and the bytes of a body, which may be None."""
    return (headers, None) if body is None else ({**headers, **JSON}, orjson.dumps(body))


def fetch(
    url: str,
    query: list[tuple[str, str]],
    *,
    read_timeout_s: float,
    headers: Mapping[str, str] = NO_HEADERS,
    body: Any = None,
) -> Any:
    """The JSON response to a GET, or to a POST if there is a body.

    A connection error, a read timeout or any status but 200 raises NeighbourUnavailable.
    """
    extra_headers, payload = _encoded(headers, body)
    with _request(
        url, query, read_timeout_s=read_timeout_s, preload=True, extra_headers=extra_headers, body=payload
    ) as response:
        if response.status != 200:
            raise NeighbourUnavailable(f"{url} answered {response.status}")
        return orjson.loads(response.data)


def is_alive(url: str) -> bool:
    """Whether the process answers `/health/live`. Connect and read take at most LIVENESS_TIMEOUT_S each."""
    timeout = urllib3.Timeout(connect=LIVENESS_TIMEOUT_S, read=LIVENESS_TIMEOUT_S)
    try:
        return _pool().request("GET", f"{url}/health/live", timeout=timeout, retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def send(url: str, payload: Any, *, read_timeout_s: float) -> None:
    """Sends JSON in a POST. Any status but 204 raises NeighbourUnavailable."""
    with _request(
        url, [], read_timeout_s=read_timeout_s, preload=True, extra_headers=JSON, body=orjson.dumps(payload)
    ) as response:
        if response.status != 204:
            raise NeighbourUnavailable(f"{url} answered {response.status}")


def fetch_rows(url: str, query: list[tuple[str, str]], *, body: Any = None) -> Iterator[list[Any]]:
    """The rows of a newline-delimited JSON response as they arrive. With a body it is a POST.

    The last line contains the row count. A response without it is incomplete: NeighbourUnavailable.
    """
    extra_headers, payload = _encoded(NO_HEADERS, body)
    with _request(
        url,
        query,
        read_timeout_s=ROWS_READ_TIMEOUT_S,
        preload=False,
        extra_headers=extra_headers,
        body=payload,
    ) as response:
        if response.status == 413:
            raise QuestionTooLarge
        if response.status != 200:
            raise NeighbourUnavailable(f"{url} answered {response.status}")
        count = 0
        for line in _lines(response):
            if not line:
                continue
            row = orjson.loads(line)
            if isinstance(row, dict):
                if row != {"rows": count}:
                    raise NeighbourUnavailable(f"{url}: received {count} rows, the last line says {row}")
                return
            count += 1
            yield row
        raise NeighbourUnavailable(f"{url}: the response ended early, after {count} rows")


def _lines(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    rest = b""
    for chunk in response.stream(65536):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
    if rest:
        yield rest
