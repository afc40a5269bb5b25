"""A database or broker process of one test run."""

import contextlib
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from local.instance import Refused
from local.polling import poll
from local.supervision import tail

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30


@contextlib.contextmanager
def running(
    command: list[str],
    home: Path,
    is_ready: Callable[[], bool],
    stop: signal.Signals,
    *,
    prefix: Sequence[str] = (),
) -> Iterator["subprocess.Popen[bytes]"]:
    """The process, ready. It gets the signal at the end, also if the test run is killed.

    setpriv sets that signal, because a function in a forked child is unsafe where gRPC has threads. A
    `prefix` that changes the user comes first, because a change of the user clears the signal.
    """
    with (home / "log").open("ab") as log:
        process = subprocess.Popen(
            [*prefix, "setpriv", f"--pdeathsig={stop.name.removeprefix('SIG')}", *command],
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # so that Ctrl-C reaches the tests only
        )
    try:
        poll(lambda: process.poll() is not None or is_ready(), START_TIMEOUT_S)
        if process.poll() is not None or not is_ready():
            raise Refused(f"{command[0]} did not start:\n{tail(home / 'log')}")
        yield process
    finally:
        process.send_signal(stop)
        process.wait(STOP_TIMEOUT_S)
