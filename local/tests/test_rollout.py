"""Processes behind HAProxy: kept alive, replaced without losing a request, stopped when nobody needs them."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from local import postgis, proxy, rollout, setting_overrides
from local.instance import CHECKOUT, Instance, Refused, read_json
from local.polling import poll
from local.supervision import Program, end_leftovers, leftovers
from local.tests.answering import SLOW_S
from local.tests.conftest import System, alone, routed, wired
from local.tests.terminal import an_instance


def get(
    address: tuple[str, int], path: str = "/", **headers: str
) -> tuple[int, http.client.HTTPMessage, Any]:
    connection = http.client.HTTPConnection(*address, timeout=20)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, json.loads(answer.read())
    finally:
        connection.close()


def test_it_answers_at_the_node_port_and_at_the_address_of_the_service(system: System) -> None:
    system.move("first")
    assert get(system.address)[2]["answer"] == "first"
    assert get((system.instance.service_address("web"), 8000))[2]["answer"] == "first"


def test_internal_paths_are_closed_to_clients_and_open_to_neighbours(system: System) -> None:
    system.move("first")
    neighbour = (system.instance.service_address("web"), 8000)
    for path in ("/internal/persons?id=1", "//internal", "/%69nternal/callers"):
        assert get(system.address, path)[::2] == (404, {"detail": "Not found."})
        assert get(neighbour, path)[2]["answer"] == "first"


def test_an_error_can_be_read_by_the_page_under_both_names(system: System) -> None:
    system.move("first")
    for host in ("127.0.0.1", "localhost"):
        origin = f"http://{host}:{system.instance.node_port(30000)}"
        assert get(system.address, "/internal/", Origin=origin)[1]["Access-Control-Allow-Origin"] == origin
    assert (
        "Access-Control-Allow-Origin" not in get(system.address, "/internal/", Origin="http://localhost")[1]
    )


def test_a_request_id_is_passed_on_or_given_and_comes_back(system: System) -> None:
    system.move("first")
    for given in ("mine", "", "not an id", "x" * 101):
        _, headers, body = get(system.address, **({"X-Request-ID": given} if given else {}))
        passed_on = body["headers"]["X_REQUEST_ID"]
        assert headers["X-Request-ID"] == passed_on
        assert (passed_on == given) == (given == "mine")
        assert len(passed_on) in (len("mine"), 36)
    assert get(system.address)[2]["headers"]["X_FORWARDED_FOR"] == "127.0.0.1"


def test_what_a_client_says_of_its_way_counts_for_nothing(system: System) -> None:
    system.move("first")
    said = {"X-Forwarded-For": "9.9.9.9", "X-Forwarded-Proto": "https", "Forwarded": "for=9.9.9.9"}
    said |= {"X-Connect-Proxy": "guessed"}
    passed_on = get(system.address, **said)[2]["headers"]
    assert (passed_on["X_FORWARDED_FOR"], passed_on["X_FORWARDED_PROTO"]) == ("127.0.0.1", "http")
    assert "FORWARDED" not in passed_on
    assert passed_on["X_CONNECT_PROXY"] == (system.instance.state / "proxy-secret").read_text().strip()


def test_what_stands_before_it_is_believed_where_that_is_set(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", "10.0.0.0/8, 127.0.0.1")
    system.move("first")
    said = {"X-Forwarded-For": "6.6.6.6, 9.9.9.9", "X-Forwarded-Proto": "https"}
    passed_on = get(system.address, **said)[2]["headers"]
    assert (passed_on["X_FORWARDED_FOR"], passed_on["X_FORWARDED_PROTO"]) == ("9.9.9.9", "https")
    assert get(system.address)[2]["headers"]["X_FORWARDED_PROTO"] == "http"


@pytest.mark.parametrize(
    ("name", "value"),
    [("TRUSTED_PROXIES", "everybody"), ("RATE_PER_TOKEN", "-1"), ("TLS_KEY", "alone.pem")],
)
def test_a_wish_that_cannot_be_is_refused_by_its_name(
    system: System, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Refused, match=name):
        system.move("first")


def test_what_a_process_refuses_it_refuses_itself(system: System) -> None:
    system.move("first")
    long = f"GET /?{'x' * 20_000} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    heavy = f"GET / HTTP/1.1\r\nHost: localhost\r\nX-Heavy: {'x' * 20_000}\r\n\r\n"
    for request, status in ((long, 414), (heavy, 431)):
        with socket.create_connection(system.address, timeout=20) as connection:
            connection.sendall(request.encode())
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert (answer.status, b"Bad Request" in answer.read()) == (status, False)


def test_a_dead_process_is_started_again(system: System) -> None:
    system.move("first")
    before = system.pids()
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    assert poll(lambda: {*system.pids()} == {*before} and all(answers_anew(system, before)), 30, every_s=0.2)
    assert get(system.address)[2]["answer"] == "first"


def answers_anew(system: System, before: dict[str, int]) -> list[bool]:
    try:
        status = get(system.address)[0]
    except OSError:
        return [False]
    return [status == 200, *(pid not in (0, before[name]) for name, pid in system.pids().items())]


def test_moving_to_where_it_is_changes_nothing(system: System) -> None:
    system.move("first")
    pids, state = system.pids(), files(system.instance)
    system.move("first")
    assert system.pids() == pids
    assert files(system.instance) == state


def files(instance: Instance) -> dict[str, tuple[int, bytes]]:
    kept = [*instance.state.glob("*.*"), *instance.programs.iterdir()]
    return {str(file): (file.stat().st_mtime_ns, file.read_bytes()) for file in kept}


class Client(threading.Thread):
    """Asks without a pause until told to stop; notes every answer that is not a good one."""

    def __init__(self, address: tuple[str, int], *, keep_alive: bool) -> None:
        super().__init__(daemon=True)
        self.address, self.keep_alive = address, keep_alive
        self.answers: list[str] = []
        self.failures: list[str] = []
        self.stopped = threading.Event()

    def run(self) -> None:
        connection = http.client.HTTPConnection(*self.address, timeout=20)
        while not self.stopped.is_set():
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                body = json.loads(answer.read())
                self.answers.append(body["answer"])
                if answer.status != 200:
                    self.failures.append(str(answer.status))
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                self.failures.append(repr(error))
                connection.close()
            if not self.keep_alive:
                connection.close()


def test_moves_lose_no_request_and_reach_everyone(system: System) -> None:
    system.move("move 0")
    clients = [Client(system.address, keep_alive=number < 6) for number in range(8)]
    for client in clients:
        client.start()
    for number in range(1, 4):
        system.move(f"move {number}")
    for client in clients:
        seen = len(client.answers)
        assert poll(lambda client=client, seen=seen: len(client.answers) > seen + 10, 10)
        client.stopped.set()
        client.join(20)
    assert [client.failures for client in clients] == [[]] * len(clients)
    assert {client.answers[-1] for client in clients} == {"move 3"}
    assert set(system.pids()) == {"haproxy", "web-4"}


def test_a_long_answer_ends_well_although_its_process_is_replaced(system: System) -> None:
    system.move("old")
    got: list[Any] = []
    asking = threading.Thread(target=lambda: got.append(get(system.address, "/slow")))
    asking.start()
    system.move("new")
    asking.join(SLOW_S + 20)
    assert got[0][2]["answer"] == "old"
    assert get(system.address)[2]["answer"] == "new"


def test_a_process_that_never_gets_ready_leaves_the_old_one_serving(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.move("old")
    monkeypatch.setattr(rollout, "READY_TIMEOUT_S", 3)
    with pytest.raises(Refused, match=r"web-2 does not get ready"):
        system.move("never ready")
    assert get(system.address)[2]["answer"] == "old"
    assert set(system.pids()) == {"haproxy", "web-1"}


def test_an_interrupted_move_is_completed_by_the_next(system: System) -> None:
    system.move("first")
    system.supervisor.add(Program("web-2", ["sleep", "1000"], CHECKOUT))
    rollout.running_file(system.instance).unlink()
    system.move("first")
    assert set(system.pids()) == {"haproxy", "web-3"}
    assert get(system.address)[2]["answer"] == "first"


def test_without_an_upstream_the_answer_is_503_in_json_and_soon(system: System) -> None:
    system.move("first")
    system.supervisor.remove("web-1")
    assert poll(lambda: get(system.address)[0] == 503, 10)
    status, headers, body = get(system.address)
    assert (status, headers["Content-Type"], headers["Retry-After"]) == (503, "application/json", "1")
    assert set(body) == {"detail"}
    page = f"http://127.0.0.1:{system.instance.node_port(30000)}"
    assert headers["Access-Control-Allow-Origin"] == page
    assert headers["Access-Control-Expose-Headers"] == "Retry-After"


def test_a_body_beyond_all_limits_is_refused_in_json(system: System) -> None:
    system.move("first")
    with socket.create_connection(system.address, timeout=20) as connection:
        head = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {65 * 2**20}\r\n\r\n"
        connection.sendall(head.encode() + b" " * 2**16)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert (answer.status, answer.getheader("Content-Type")) == (413, "application/json")
        assert list(json.loads(answer.read())) == ["detail"]


def test_nothing_lives_on_when_the_supervisor_is_killed(system: System) -> None:
    system.move("first")
    pid = system.supervisor.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert poll(lambda: system.supervisor.pid() is None, 10)
    assert leftovers(system.instance)
    end_leftovers(system.instance)
    assert not leftovers(system.instance)
    assert postgis.is_free(system.address[1])


def test_what_runs_holds_nothing_of_its_caller(system: System) -> None:
    """A caller that waits for its output to end, as a CI does, is not kept waiting."""
    held, inherited = os.pipe()
    os.set_inheritable(inherited, True)
    script = (
        "import sys; from pathlib import Path;"
        "from local.instance import Instance; from local.tests.conftest import System;"
        "System(Instance(Path(sys.argv[1]), int(sys.argv[2]))).move('first')"
    )
    command = [sys.executable, "-c", script, str(system.instance.state), str(system.instance.port_base)]
    caller = subprocess.run(
        command,
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=[inherited],
        timeout=60,
        check=False,
    )
    assert caller.returncode == 0, caller.stdout
    os.close(inherited)
    assert os.read(held, 1) == b""  # the end: nobody holds the other end any more
    os.close(held)
    sessions = {os.getsid(pid) for pid in leftovers(system.instance)}
    assert sessions == {system.supervisor.pid()}
    assert get(system.address)[2]["answer"] == "first"


def test_the_routes_of_a_stage_say_who_answers(system: System) -> None:
    system.move("first", alone)
    assert get(system.address, "/back")[2]["answer"] == "first"
    system.move("first", routed)
    assert get(system.address, "/")[2]["answer"] == "first"
    for path in ("/back", "/back/and?more=1", "/%62ack"):
        assert get(system.address, path)[2]["answer"] == "from behind"
    assert get(system.address, "/backwards")[2]["answer"] == "first"
    system.move("first", alone)
    assert get(system.address, "/back")[2]["answer"] == "first"


def test_a_service_that_goes_stays_for_those_who_are_wired_to_it(system: System) -> None:
    system.move("old", wired)
    address = (system.instance.service_address("back"), 8000)
    got: list[Any] = []
    asking = threading.Thread(target=lambda: got.append(get(system.address, "/slow")))
    asking.start()
    system.move("new", alone)
    asking.join(SLOW_S + 20)
    assert (got[0][2]["answer"], got[0][2]["back"]) == ("old", "from behind")
    assert set(system.pids()) == {"haproxy", "web-3"}
    assert poll(lambda: is_closed(address), 10)
    state, pids = files(system.instance), system.pids()
    system.move("new", alone)
    assert (files(system.instance), system.pids()) == (state, pids)


def is_closed(address: tuple[str, int]) -> bool:
    with socket.socket() as client:
        return client.connect_ex(address) != 0


def test_what_a_move_does_not_change_stays_as_it_is(system: System) -> None:
    system.move("same", wired)
    back = system.pids()["back-2"]
    system.move("same", routed)
    assert set(system.pids()) == {"haproxy", "web-1", "back-2"}
    system.move("other", routed)
    assert set(system.pids()) == {"haproxy", "web-3", "back-2"}
    assert system.pids()["back-2"] == back


def test_a_second_system_runs_beside_the_first(system: System, tmp_path: Path) -> None:
    system.move("first", routed)
    with an_instance(tmp_path / "second") as instance:
        second = System(instance)
        second.move("second", routed)
        assert get(second.address)[2]["answer"] == "second"
        assert get((instance.service_address("web"), 8000))[2]["answer"] == "second"
        assert get(system.address)[2]["answer"] == "first"
    assert get(system.address)[2]["answer"] == "first"
    assert get(system.address, "/back")[2]["answer"] == "from behind"


def test_a_failed_move_leaves_nothing_of_its_own(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    system.move("old")
    monkeypatch.setattr(rollout, "READY_TIMEOUT_S", 3)
    with pytest.raises(Refused, match=r"web-2 does not get ready"):
        system.move("never ready", wired)
    assert set(system.pids()) == {"haproxy", "web-1"}


def test_haproxy_keeps_the_configuration_that_it_accepts(system: System) -> None:
    system.move("first")
    good = proxy.config_file(system.instance).read_text()
    with pytest.raises(Refused, match="refuses"):
        proxy.install(system.instance, good + "\nnonsense\n")
    assert proxy.config_file(system.instance).read_text() == good


def test_the_state_says_what_runs(system: System) -> None:
    system.move("first")
    state = read_json(rollout.running_file(system.instance))
    assert state["stage"] == "0-alone"
    assert state["node_ports"] == [system.instance.node_port(30001)]
    port = state["processes"]["web"]["port"]
    assert Path(f"/proc/{system.pids()['web-1']}").exists()
    assert get(("127.0.0.1", port))[2]["answer"] == "first"


# --- how much one may ask ------------------------------------------------------------------------


def answers(address: tuple[str, int], times: int, path: str = "/", **headers: str) -> list[int]:
    return [get(address, path, **headers)[0] for _ in range(times)]


def test_a_token_that_asks_too_much_is_told_when_to_come_back_and_another_goes_on(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATE_PER_TOKEN", "2")
    system.move("first")
    assert answers(system.address, 25, Authorization="Bearer one") == [200] * 21 + [429] * 4
    for spelling in ("bearer one", "BEARER   one", "Bearer one "):
        assert answers(system.address, 1, Authorization=spelling) == [429]
    # Another key of the same caller is recognised with its first answer.
    assert answers(system.address, 3, Authorization="Bearer one-again") == [200, 429, 429]
    assert answers(system.address, 5, Authorization="Bearer another") == [200] * 5
    assert answers(system.address, 5) == [200] * 5

    status, headers, body = get(system.address, Authorization="Bearer one", Origin="http://anywhere")
    assert (status, body) == (429, {"detail": "Request was throttled. Expected available in 10 seconds."})
    assert headers["Content-Type"] == "application/json"
    assert headers["Retry-After"] == "10"
    assert headers["Access-Control-Allow-Origin"] == f"http://127.0.0.1:{system.instance.node_port(30000)}"
    assert headers["Access-Control-Expose-Headers"] == "Retry-After"
    assert headers["X-Request-ID"]


def test_an_address_is_limited_at_the_doors_of_clients_alone(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATE_PER_ADDRESS", "2")
    system.move("first", wired)
    for path in ("/health/live", "/health", "/static/file.js"):
        assert answers(system.address, 25, path) == [200] * 25, path
    neighbours = system.instance.service_address("web"), 8000
    assert answers(neighbours, 25) == [200] * 25
    shown = [get(system.address, Authorization=f"Bearer {n}")[0] for n in range(25)]
    assert shown == [200] * 20 + [429] * 5
    assert answers(system.address, 1, "/healthy") == [429]
    assert answers(neighbours, 25) == [200] * 25


def test_other_limits_are_a_change_like_any_other(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    system.move("first")
    assert answers(system.address, 25) == [200] * 25
    haproxy = system.pids()["haproxy"]
    monkeypatch.setenv("RATE_PER_ADDRESS", "2")
    system.move("first")
    assert answers(system.address, 25).count(429) == 5
    assert system.pids()["haproxy"] == haproxy


def test_where_tokens_are_asked_for_there_are_limits(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def limits() -> tuple[str, str]:
        told = setting_overrides.for_proxy(instance)
        return told["RATE_PER_TOKEN"], told["RATE_PER_ADDRESS"]

    monkeypatch.setenv("ACCESS", "open")
    assert limits() == ("0", "0")
    monkeypatch.setenv("ACCESS", "tokens")
    assert limits() == ("500", "100")
    monkeypatch.setenv("RATE_PER_TOKEN", "7")
    assert limits() == ("7", "100")
