"""The receiver in docs/webhooks.md receives and verifies what Connect sends."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from django.conf import settings as project

from tests.gunicorn_server import until
from webhooks.deliveries import deliver
from webhooks.models import Delivery, State, Webhook
from webhooks.tests.conftest import add, message

DOC = (project.BASE_DIR / "docs" / "webhooks.md").read_text()


@pytest.fixture
def documented(webhook: Callable, free_port: int, settings: Any, tmp_path: Path) -> Iterator[Webhook]:
    """A webhook whose receiver is the example of the document, with its secret and a free port."""
    settings.WEBHOOKS_ALLOW_PRIVATE = True
    hook = webhook(f"http://127.0.0.1:{free_port}/")
    [code] = re.findall(r"^```python\n(.*?)^```$", DOC, re.DOTALL | re.MULTILINE)
    [secret] = re.findall(r"whsec_[^\"]+", code)
    code = code.replace(secret, hook.secret).replace("8080", str(free_port))
    output = tmp_path / "output"
    with output.open("w") as file:
        running = subprocess.Popen([sys.executable, "-c", code], stdout=file, stderr=subprocess.DEVNULL)
    try:
        until(lambda: answers(hook.url))
        hook.output = output
        yield hook
    finally:
        running.kill()
        running.wait()


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code == 501
    except requests.ConnectionError:
        return False


def test_the_documented_receiver_takes_what_is_signed_and_nothing_else(people: None, documented: Any):
    add(message(1, 2))
    deliver(documented.id)

    delivery = Delivery.objects.get()
    assert delivery.state == State.DELIVERED
    assert documented.output.read_text() == f"{delivery.message_id} encounter.ended A1 A2\n"
    forged = {"webhook-id": "msg_1", "webhook-timestamp": "0", "webhook-signature": "v1,AAAA"}
    assert requests.post(documented.url, data=b"{}", headers=forged, timeout=5).status_code == 401
