"""No secret is in the repository, in the image, or in a log."""

import re
import secrets
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import grpc
import pytest
import requests
from django.conf import settings

from grpc_server import locations_pb2 as pb
from grpc_server.locations_pb2_grpc import LocationServiceStub
from local.instance import CHECKOUT
from local.supervision import Supervisor
from tests.system import LOCATIONS, STAGES, System, a_system

# What a key, a token or a password looks like that somebody has put where it does not belong.
LOOKS_SECRET = [
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    r"\bAKIA[0-9A-Z]{16}\b",
    r"\bgh[pousr]_[0-9A-Za-z]{36,}\b",
    r"\bgithub_pat_[0-9A-Za-z_]{40,}\b",
    r"\bxox[abpr]-[0-9A-Za-z-]{10,}",
    r"\bsk-[0-9A-Za-z_-]{20,}\b",
    r"\bAIza[0-9A-Za-z_-]{35}\b",
    r"\beyJ[0-9A-Za-z_-]{10,}\.eyJ[0-9A-Za-z_-]{10,}",
    r"\b(?=[0-9.]*[A-Za-z])[0-9A-Za-z]{8}\.[0-9A-Za-z]{32,100}\b",  # Connect's own tokens
    r"(?:secret_key|service_token|password|SECRET_KEY|SERVICE_TOKEN|PASSWORD)[\"']?\s*[:=]\s*[\"']?(?=[^\"'\s]*\d)[0-9A-Za-z_+/=-]{32,}",
]
# Digests and identities are as random as keys; who minimises names knows nothing of secrets.
NO_SECRETS = ("requirements*.txt", "*/package-lock.json", "*/vendor/*", "*.svg", "*.png")


def tracked() -> list[str]:
    command = ["git", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name and (CHECKOUT / name).is_file()]


def test_no_file_of_the_repository_has_what_looks_like_a_secret() -> None:
    found = [
        f"{name}: {match[0][:60]}"
        for name in tracked()
        if not any(fnmatch(name, pattern) for pattern in NO_SECRETS)
        for match in re.finditer("|".join(LOOKS_SECRET), (CHECKOUT / name).read_text(errors="replace"))
    ]
    assert found == []


def test_no_file_of_the_repository_is_a_place_for_secrets() -> None:
    places = (".env", "*.pem", "*.key", "*.p12", "*.pfx", "*.crt", "secrets.env", "id_*", ".netrc")
    found = [name for name in tracked() if any(fnmatch(Path(name).name, one) for one in places)]
    assert found == []


def test_the_image_has_what_runs_and_nothing_that_is_a_machines_own() -> None:
    lines = (CHECKOUT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    first = {name.partition(".")[0] for name in settings.INSTALLED_APPS}
    apps = {name for name in first if (CHECKOUT / name).is_dir()}
    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == apps | {"manage.py", "requirements.txt"}
    assert {"**/.env", "**/*.pem", "**/*.key", "**/*.crt", "**/tests"} <= set(rules)
    assert rules.index("**/*.pem") > max(n for n, rule in enumerate(rules) if rule.startswith("!"))


# --- logs ----------------------------------------------------------------------------------------

WORD = secrets.token_hex(12)
MARKS = {
    "key": f"key{WORD}" * 3,
    "password": f"password-{WORD}",
    "wrong": f"a-wrong-password-{WORD}",
    "unknown": f"{secrets.token_hex(4)}.unknown{WORD}{WORD}",
    "basic": f"basic{WORD}",
}


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with a_system(tmp_path_factory.mktemp("secrets"), access="tokens") as system:
        system.environ |= {"SECRET_KEY": MARKS["key"]}
        script = "from django.contrib.auth import get_user_model as users; u = users().objects.get(); "
        system.run("manage.py", "shell", "-c", f"{script}u.set_password({MARKS['password']!r}); u.save()")
        system.go(STAGES[-1])
        yield system


def log_in(system: System, password: str) -> requests.Session:
    session = requests.Session()
    url = system.url("/admin/login/")
    session.get(url, timeout=30)
    form = {"username": "admin", "password": password, "csrfmiddlewaretoken": session.cookies["csrftoken"]}
    session.post(url, data=form, headers={"Referer": url}, timeout=30)
    return session


def test_no_log_has_what_callers_show_or_processes_know(marked: System) -> None:
    of_processes = [file.read_text().strip() for file in (marked.instance.state / "service-tokens").iterdir()]
    shown = [marked.token or "", *of_processes, MARKS["unknown"]]
    ping = {"person_id": 1, "latitude": 1, "longitude": 2, "creation_time": "2026-05-11T10:00:00Z"}
    statuses = set()
    for token in shown:
        headers = {"Authorization": f"Bearer {token}"}
        for verb, path, body in [
            ("GET", "/api/persons", None),
            ("GET", f"/api/persons?token={token}", None),
            ("POST", "/api/locations", ping),
            ("POST", "/api/locations", {"token": token}),
            ("DELETE", "/api/persons/999", None),
        ]:
            statuses.add(marked.ask(verb, path, json=body, headers=headers).status_code)
        with grpc.insecure_channel(f"127.0.0.1:{marked.port(LOCATIONS)}") as channel:
            ask = LocationServiceStub(channel).GetLocation
            metadata = [("authorization", f"Bearer {token}")]
            for identifier in ("1-1", token):
                with pytest.raises(grpc.RpcError):
                    ask(pb.GetLocationRequest(id=identifier), metadata=metadata, timeout=20)
    statuses.add(marked.get("/api/persons", headers={"Authorization": f"Basic {MARKS['basic']}"}).status_code)
    assert statuses >= {200, 202, 400, 401, 404}
    sessions = [log_in(marked, MARKS["wrong"]), log_in(marked, MARKS["password"])]
    assert ["sessionid" in one.cookies for one in sessions] == [False, True]
    shown += [value for session in sessions for value in session.cookies.values()]
    # And while a neighbour is away, which is when most is said.
    supervisor = Supervisor(marked.instance)
    persons = marked.processes()["persons"].program
    supervisor.rpc.stopProcess(persons)
    day = {"start_date": "2026-05-11", "end_date": "2026-05-11"}
    assert marked.get("/api/persons/1/encounters", params=day).status_code == 503
    supervisor.rpc.startProcess(persons)

    logs = {file.name: file.read_text(errors="replace") for file in marked.instance.logs.iterdir()}
    assert any("persons" in name for name in logs)
    found = [
        (name, secret[:8])
        for name, text in logs.items()
        for secret in {*shown, *MARKS.values(), WORD}
        if secret and secret in text
    ]
    assert found == []
