"""Kept connections to a web process that ends: the proxy may be sending a request on one of them."""

import http.client
import signal

from tests.gunicorn_server import Server, until


def get(connection: http.client.HTTPConnection) -> tuple[int, str | None]:
    connection.request("GET", "/health/live")
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.getheader("Connection")


def refuses(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.connect()
    except OSError:
        return True
    connection.close()
    return False


def test_an_idle_connection_takes_one_more_request_after_the_end_has_begun() -> None:
    with Server(SERVED_APPS="webapp", DATABASE_URL="", WEB_WORKERS="1") as web:
        connections = [http.client.HTTPConnection("127.0.0.1", web.port, timeout=20) for _ in range(3)]
        assert [get(each) for each in connections] == [(200, None)] * 3
        connections.append(http.client.HTTPConnection("127.0.0.1", web.port, timeout=20))
        connections[3].connect()  # and sends its first request later
        get(connections[0])  # the connection before is accepted by now
        web.process.send_signal(signal.SIGTERM)
        until(lambda: refuses(web.port))
        assert [get(connections[each]) for each in (0, 1, 3)] == [(200, "close")] * 3
        connections[2].close()
        assert web.process.wait(20) == 0
