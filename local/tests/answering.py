"""A web process that needs nothing, for tests of what starts, replaces and stops web processes.

It answers with the variable ANSWER, its process id and the request's headers; `/slow` takes its time, and
then asks BACK, where that is set. The tokens of CALLERS are valid.
"""

import json
import os
import time
import urllib.request
from collections.abc import Callable, Iterable
from typing import Any

SLOW_S = 3
CALLERS = {"one": 1, "one-again": 1, "another": 2}


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    ready = path != "/health/ready" or os.environ["ANSWER"] != "never ready"
    sent = [("Content-Type", "application/json")]
    if caller := CALLERS.get("".join(environ.get("HTTP_AUTHORIZATION", "").split()[1:])):
        sent.append(("X-Connect-Known", str(caller)))
    start_response("200 OK" if ready else "503 Service Unavailable", sent)
    headers = {key.removeprefix("HTTP_"): value for key, value in environ.items() if key.startswith("HTTP_")}
    yield b" "
    answer = {"answer": os.environ["ANSWER"], "pid": os.getpid(), "headers": headers}
    if path == "/slow":
        time.sleep(SLOW_S)
        if "BACK" in os.environ:
            with urllib.request.urlopen(os.environ["BACK"], timeout=10) as back:  # noqa: S310 - a test's own
                answer["back"] = json.load(back)["answer"]
    yield json.dumps(answer).encode()
