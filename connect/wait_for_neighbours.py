"""Waits until every neighbour accepts connections: the init container of a pod.

`python -m connect.wait_for_neighbours` reads the settings of the process that starts next. A Service refuses
connections while none of its pods is ready. It does not wait for brokers: the REST and gRPC servers work
without them, and not every process may connect to them.
"""

import os
import socket
import sys
import time

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "connect.settings")

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from connect import neighbours

RETRY_INTERVAL_S = 0.5


def wait() -> None:
    """Blocks without a timeout; the orchestrator limits the wait."""
    urls = {name: getattr(settings, name) for name in ("PERSONS_URL", "LOCATIONS_URL", "PINGS_URL")}
    addresses = [neighbours.address(*each) for each in urls.items() if each[1].startswith(("http:", "grpc:"))]
    for host, port in addresses:
        while not _accepts(host, port):
            print(f"Waiting for {host}:{port}.", flush=True)
            time.sleep(RETRY_INTERVAL_S)


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=2).close()
    except (OSError, UnicodeError):  # UnicodeError: not a valid host name
        return False
    return True


if __name__ == "__main__":
    try:
        wait()
    except ImproperlyConfigured as fault:
        sys.exit(str(fault))
