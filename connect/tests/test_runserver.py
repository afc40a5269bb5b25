"""`manage.py runserver` behaves like a deployed process."""

import os
import subprocess
import sys

import pytest
import requests

from tests.gunicorn_server import ROOT, database_url, until

ADA = {"first_name": "Ada", "last_name": "Lovelace", "company_name": "Engines"}


@pytest.mark.django_db(transaction=True)
def test_runserver_handles_requests_with_a_body(free_port: int) -> None:
    address = f"127.0.0.1:{free_port}"
    command = [sys.executable, "manage.py", "runserver", "--noreload", address]
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | {"DATABASE_URL": database_url()}) as process:
        try:

            def persons() -> requests.Response | None:
                assert process.poll() is None
                try:
                    return requests.get(f"http://{address}/api/persons", timeout=20)
                except requests.ConnectionError:
                    return None

            assert until(persons, at_most_s=60).json() == []
            made = requests.post(f"http://{address}/api/persons", json=ADA, timeout=20)
            assert (made.status_code, made.json()) == (201, {"id": made.json()["id"], **ADA})
            wrong = requests.post(f"http://{address}/api/persons", data="{", timeout=20)
            assert wrong.status_code == 415
        finally:
            process.terminate()
