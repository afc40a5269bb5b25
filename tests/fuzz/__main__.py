"""`make fuzz`: 20,000 REST and 5,000 gRPC inputs; the same seed makes the same ones.

ARGS="--seed 7" makes others, ARGS="--seed 7 --rest-input 1234" repeats one.
"""

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.run import Fuzz
from tests.system import a_system


def options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rest", type=int, default=20_000, help="how many by REST (default: %(default)s)")
    parser.add_argument("--grpc", type=int, default=5_000, help="how many by gRPC (default: %(default)s)")
    parser.add_argument("--rest-input", type=int, help="only this one")
    parser.add_argument("--grpc-input", type=int, help="only this one")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    chosen = options(arguments)
    indexes = {"rest": range(chosen.rest), "grpc": range(chosen.grpc)}
    if chosen.rest_input is not None or chosen.grpc_input is not None:
        only = {"rest": chosen.rest_input, "grpc": chosen.grpc_input}
        indexes = {kind: range(one, one + 1) if one is not None else range(0) for kind, one in only.items()}
    failed = 0
    with tempfile.TemporaryDirectory() as folder, a_system(Path(folder), access="tokens") as system:
        # What is looked for is not how the limits count.
        system.environ |= {"RATE_PER_TOKEN": "0", "RATE_PER_ADDRESS": "0"}
        fuzz = Fuzz(system, chosen.seed)
        for kind, send in (("rest", fuzz.send_rest), ("grpc", fuzz.send_grpc)):
            began = time.monotonic()
            report = send(indexes[kind])
            print(f"{kind}, {time.monotonic() - began:.0f} s: {report.lines()}", flush=True)
            failed += len(report.failures)
        restarted = fuzz.restarted()
    print(f"{failed} failures, {restarted} restarts")
    return 1 if failed or restarted else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the system is stopped
    sys.exit(main(sys.argv[1:]))
