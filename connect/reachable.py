"""Ends when every neighbour can be connected to: a pod's first step, before it is asked anything.

`python -m connect.reachable`, where the process itself will read the same settings. A Service refuses
connections as long as no pod of it is ready. Brokers are not waited for: not everybody who reads the wiring
may ask them, and a door is of use without them, too.
"""

import os
import socket
import time
from urllib.parse import urlsplit

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "connect.settings")

from django.conf import settings

EVERY_S = 0.5


def wait() -> None:
    """Blocks as long as it takes; who started it knows how long that may be."""
    for url in map(urlsplit, (settings.PERSONS_URL, settings.LOCATIONS_URL, settings.PINGS_URL)):
        if url.scheme in ("http", "grpc"):
            while not _accepts(url.hostname or "", url.port or 0):
                print(f"Waiting for {url.netloc}.", flush=True)
                time.sleep(EVERY_S)


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    wait()
