"""Ends when every neighbour can be connected to: a pod's first step, before it is asked anything.

`python -m connect.wait_for_neighbours` reads the settings of the process that starts next. A Service refuses
connections while none of its pods is ready. Brokers are not waited for: a door works without them, and not
every process may ask them.
"""

import os
import socket
import sys
import time

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "connect.settings")

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from connect import neighbours

EVERY_S = 0.5


def wait() -> None:
    """Blocks as long as it takes; who started it knows how long that may be."""
    urls = {name: getattr(settings, name) for name in ("PERSONS_URL", "LOCATIONS_URL", "PINGS_URL")}
    asked = [neighbours.address(*each) for each in urls.items() if each[1].startswith(("http:", "grpc:"))]
    for host, port in asked:
        while not _accepts(host, port):
            print(f"Waiting for {host}:{port}.", flush=True)
            time.sleep(EVERY_S)


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=2).close()
    except (OSError, UnicodeError):  # the latter for what cannot be the name of a host
        return False
    return True


if __name__ == "__main__":
    try:
        wait()
    except ImproperlyConfigured as fault:
        sys.exit(str(fault))
