"""Requests over kept connections, as many at once as there are, from a process of their own."""

import http.client
import multiprocessing
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing, contextmanager

TIMEOUT_S = 60


class Load:
    """Asks from another process, so that what the requests cost is not paid by who measures."""

    def __init__(self, pool: ProcessPoolExecutor):
        self._pool = pool

    def of(
        self, netloc: str, path: str, headers: Mapping[str, str], *, at_once: int, lasts_s: float
    ) -> list[float]:
        """How many seconds each request took. Raises RuntimeError for an answer that is not a 200."""
        return self._pool.submit(_together, netloc, path, dict(headers), at_once, lasts_s).result()


@contextmanager
def load() -> Iterator[Load]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield Load(pool)


def _together(
    netloc: str, path: str, headers: Mapping[str, str], at_once: int, lasts_s: float
) -> list[float]:
    until = time.perf_counter() + lasts_s
    with ThreadPoolExecutor(at_once) as threads:
        asked = [threads.submit(_one_after_the_other, netloc, path, headers, until) for _ in range(at_once)]
        return [took for each in asked for took in each.result()]


def _one_after_the_other(netloc: str, path: str, headers: Mapping[str, str], until: float) -> list[float]:
    took = []
    with closing(http.client.HTTPConnection(netloc, timeout=TIMEOUT_S)) as link:
        while (begun := time.perf_counter()) < until:
            link.request("GET", path, headers=headers)
            answer = link.getresponse()
            body = answer.read()
            if answer.status != http.client.OK:
                raise RuntimeError(f"{path}: {answer.status} {body[:200]!r}")
            took.append(time.perf_counter() - begun)
    return took
