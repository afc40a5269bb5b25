"""The quota of pings: token buckets in a file that processes share."""

import sqlite3
import subprocess
import sys
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from locations.quota import BURST, BatchTooLarge, Quota, TooManyPings
from tests.gunicorn_server import ROOT


@pytest.fixture
def quota_file(tmp_path: Path) -> str:
    return str(tmp_path / "quota.sqlite")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_is_refilled_by_one_ping_per_second(quota_file: str) -> None:
    clock = Clock()
    quota = Quota(quota_file, clock=clock)
    quota.charge([1] * BURST)
    for _ in range(10):
        with pytest.raises(TooManyPings) as raised:
            quota.charge([1])
        assert raised.value.wait_s == 1
        clock.now += 1
        quota.charge([1])
    clock.now += 10 * BURST
    quota.charge([1] * BURST)
    with pytest.raises(TooManyPings):
        quota.charge([1])


@pytest.mark.parametrize("pause_s", [1, 7, 60, 599])
def test_any_ten_minutes_allow_at_most_one_ping_per_second_and_a_burst(quota_file: str, pause_s: int) -> None:
    clock = Clock()
    quota = Quota(quota_file, clock=clock)
    last_ten_minutes: deque[tuple[float, int]] = deque()
    for _ in range(0, 3600, pause_s):
        for size in (5000, 2000, 500, 60, 1):
            try:
                quota.charge([1] * size)
            except (TooManyPings, BatchTooLarge):
                continue
            last_ten_minutes.append((clock.now, size))
        while last_ten_minutes[0][0] <= clock.now - 600:
            last_ten_minutes.popleft()
        assert 0 < sum(size for _, size in last_ten_minutes) <= BURST + 600
        clock.now += pause_s


def test_a_batch_larger_than_a_bucket_is_always_refused(quota_file: str) -> None:
    with pytest.raises(BatchTooLarge, match="3600 are allowed"):
        Quota(quota_file, clock=Clock()).charge([1] * (BURST + 1))


def test_full_buckets_are_deleted_and_others_kept(quota_file: str) -> None:
    clock = Clock()
    quota = Quota(quota_file, clock=clock)
    quota.CLEAN_EVERY = 100
    quota.charge([7] * BURST)
    for person_id in range(1000, 2000):
        quota.charge([person_id])
        clock.now += 1
    with sqlite3.connect(quota_file) as database:
        assert database.execute("SELECT count(*) FROM bucket").fetchone()[0] <= 102
    with pytest.raises(TooManyPings):
        quota.charge([7] * BURST)


def test_a_clock_that_is_set_back_locks_nobody_out(quota_file: str) -> None:
    clock = Clock()
    quota = Quota(quota_file, clock=clock)
    quota.charge([1] * BURST)
    clock.now -= 86_400
    quota.charge([1] * BURST)
    with pytest.raises(TooManyPings) as raised:
        quota.charge([1])
    assert raised.value.wait_s == 1


def test_a_file_that_another_process_locks_is_an_outage_for_all_threads_at_once(
    quota_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("locations.quota.TIMEOUT_S", 0.2)
    quota = Quota(quota_file)
    with sqlite3.connect(quota_file, isolation_level=None) as other, ThreadPoolExecutor(8) as threads:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        charges = [threads.submit(quota.charge, [person_id]) for person_id in range(8)]
        assert {type(charge.exception()) for charge in charges} == {sqlite3.OperationalError}
        waited = time.monotonic() - began
        other.execute("ROLLBACK")
    assert waited < 8 * 0.2  # not one after the other
    quota.charge([1])


def test_processes_share_the_buckets_of_a_file(quota_file: str) -> None:
    """Each of four processes sends until it is refused; together they send one burst."""
    charge_until_refused = f"""
from locations.quota import PER_SECOND, Quota, TooManyPings
quota, count = Quota({quota_file!r}, clock=lambda: 1000.0), 0
try:
    while True:
        quota.charge([1])
        count += 1
except TooManyPings:
    print(count)
"""
    command = [sys.executable, "-c", charge_until_refused]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(4)]
    counts = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert sum(counts) == BURST
    with pytest.raises(TooManyPings):
        Quota(quota_file, clock=Clock()).charge([1])
