"""The request itself: its address, its TLS, its deadline, and what it does not follow."""

import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from access.certificates import Authority
from webhooks import addresses, sender
from webhooks.addresses import Forbidden
from webhooks.sender import Outcome
from webhooks.tests.receiver import Receiver

SECRET = "whsec_cBbx9DRi5tM8UjCzKFdjO0RkIHMxYn4mfZHzCH83Bfk="  # noqa: S105 - of these tests


def send(url: str) -> Outcome:
    return sender.send(url, SECRET, "msg_1", b'{"type": "encounter.ended"}')


# --- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "2a00:1450:4001::8a"])
def test_public_addresses(address: str):
    assert addresses.is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.8.8", "0.0.0.0", "0.1.2.3", "10.0.0.1"),  # noqa: S104
        *("172.16.0.1", "172.31.255.255"),
        *("192.168.1.1", "169.254.169.254", "100.64.0.1", "192.0.0.1", "192.0.0.9", "192.0.2.1"),
        *("198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1"),
        "255.255.255.255",
        *("::1", "::", "fe80::1", "fc00::1", "fd12::1", "ff02::1", "fec0::1", "2001:db8::1", "100::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:1.1.1.1", "::127.0.0.1", "64:ff9b::a00:1"),
        *("64:ff9b:1::1", "2002:7f00:1::", "2001:0:7f00:1::", "5f00::1"),
    ],
)
def test_addresses_that_are_not_public(address: str, settings: Any):
    assert not addresses.is_public(ipaddress.ip_address(address))
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(Forbidden, match="is not public"):
        addresses.parse(f"https://{host}/")
    settings.WEBHOOKS_ALLOW_PRIVATE = True
    assert addresses.parse(f"https://{host}/").host == address


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://example.org/", "https://"),
        ("example.org", "https://"),
        ("file:///etc/passwd", "https://"),
        ("https://", "host"),
        ("https:///path", "host"),
        ("https://example.org:0/", "port"),
        ("https://example.org:99999/", "Port out of range"),
        ("https://example.org:x/", "Must be a URL"),
        ("https://[::1/", "Must be a URL"),
        ("https://user:secret@example.org/", "user name"),
        ("https://example.org@127.0.0.1/", "user name"),
        ("https://example.org\\@127.0.0.1/", "user name"),
        ("https://example.org/#part", "fragment"),
        ("https://exa mple.org/", "visible ASCII"),
        ("https://example.org/\r\nX: y", "visible ASCII"),
        ("https://exämple.org/", "visible ASCII"),
        ("https://example.org/\x00", "visible ASCII"),
        ("https://exam%70le.org/", "name of a host"),
        ("https://" + "a" * 2000, "2,000 characters"),
    ],
)
def test_urls_that_are_refused(url: str, reason: str):
    with pytest.raises(Forbidden, match=reason):
        addresses.parse(url)


def test_the_parts_of_a_url():
    target = addresses.parse("HTTPS://Example.org:8443/a/b?c=d&e")
    assert target == (True, "example.org", 8443, "/a/b?c=d&e", "Example.org:8443")
    assert addresses.parse("http://example.org")[2:4] == (80, "/")
    assert addresses.parse("https://example.org?x")[2:4] == (443, "/?x")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.0.0.1", "[::1]"])
def test_nothing_is_sent_to_a_private_address(receiver: Receiver, settings: Any, host: str):
    settings.WEBHOOKS_ALLOW_PRIVATE = False
    outcome = send(f"http://{host}:{receiver.port}/")
    assert outcome.status is None
    assert "is not public" in outcome.reason
    assert receiver.requests == []


def answers_of_the_resolver(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """The resolver answers this, one list at each call. Returns the names that are asked for."""
    asked: list[str] = []

    def resolve(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        found = answers[len(asked)]
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in found]

    monkeypatch.setattr(addresses.socket, "getaddrinfo", resolve)
    return asked


def test_one_private_address_among_public_ones_is_refused(monkeypatch: pytest.MonkeyPatch):
    answers_of_the_resolver(monkeypatch, ["1.1.1.1", "10.0.0.1"])
    assert "10.0.0.1 is not public" in send("https://example.org/").reason


def test_the_checked_address_is_the_one_that_is_connected_to(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    """A name that resolves differently the next time (DNS rebinding)."""
    target = addresses.parse(f"http://rebinding.example:{receiver.port}/")
    asked = answers_of_the_resolver(monkeypatch, ["127.0.0.1"])
    found = addresses.resolve(target)
    monkeypatch.undo()  # from now on this name does not resolve

    watch = sender._Watch()
    outcome = sender._post(target, found, {"Host": target.authority}, b"{}", watch)

    assert (outcome.status, asked) == (204, ["rebinding.example"])
    assert receiver.requests[0].headers["host"] == f"rebinding.example:{receiver.port}"


def test_a_name_that_is_not_resolved():
    assert "is not resolved" in send("https://nowhere.invalid/").reason


# --- the answer ----------------------------------------------------------------------------------


def test_a_message_is_sent_with_the_headers_of_standard_webhooks(receiver: Receiver):
    assert send(f"http://localhost:{receiver.port}/hook") == (204, "")
    [request] = receiver.requests
    assert request.verified(SECRET) == {"type": "encounter.ended"}
    assert request.id == "msg_1"
    assert request.headers["user-agent"].startswith("Connect/")


def test_a_redirect_is_not_followed(receiver: Receiver):
    receiver.answer = lambda _: 302
    assert send(receiver.url) == (302, "Redirects are not followed.")
    assert len(receiver.requests) == 1


@contextmanager
def raw_server(serve: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """A server that answers one connection with any bytes. The event is set at the end."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            connected, _ = listener.accept()
            with connected:
                try:
                    serve(connected, ended)
                except OSError:  # the client has gone
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()
            thread.join(15)
            assert not thread.is_alive()


def drip(connected: socket.socket, ended: threading.Event) -> None:
    """One byte at a time: each read of the client succeeds soon."""
    while not ended.wait(0.05):
        connected.send(b"H")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_receiver_that_drips_its_answer_is_cut_off(
    scheme: str, settings: Any, monkeypatch: pytest.MonkeyPatch
):
    settings.WEBHOOKS_ALLOW_PRIVATE = True
    monkeypatch.setattr(sender, "DEADLINE_S", 1.0)

    def handshake_or_header(connected: socket.socket, ended: threading.Event) -> None:
        # A TLS record of 16 KB that never ends, or a status line that never ends.
        connected.send(b"\x16\x03\x03\x40\x00" if scheme == "https" else b"HTTP/1.1 200 ")
        drip(connected, ended)

    with raw_server(handshake_or_header) as address:
        assert send(f"{scheme}://{address}/") == (None, "There was no answer within 1 s.")


def test_a_receiver_that_never_answers_is_cut_off(settings: Any, monkeypatch: pytest.MonkeyPatch):
    settings.WEBHOOKS_ALLOW_PRIVATE = True
    monkeypatch.setattr(sender, "DEADLINE_S", 1.0)
    with raw_server(lambda _, ended: ended.wait(20) and None) as address:
        outcome = send(f"http://{address}/")
    assert outcome.status is None
    assert outcome.reason


def test_of_an_endless_answer_only_the_beginning_is_read(settings: Any):
    settings.WEBHOOKS_ALLOW_PRIVATE = True
    sent = 0

    def endless(connected: socket.socket, ended: threading.Event) -> None:
        nonlocal sent
        connected.send(b"HTTP/1.1 500 No\r\n\r\n")
        while not ended.is_set():
            sent += connected.send(b"x" * 65536)

    with raw_server(endless) as address:
        outcome = send(f"http://{address}/")
    assert outcome.status == 500
    assert outcome.reason == "Answered 500: " + "x" * sender.MAX_ANSWER
    assert sent < 100_000_000


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 99999 \r\n\r\n", b"H" * 100_000])
def test_an_answer_that_is_no_http(settings: Any, answer: bytes):
    settings.WEBHOOKS_ALLOW_PRIVATE = True

    def serve(connected: socket.socket, _: threading.Event) -> None:
        connected.recv(65536)
        connected.sendall(answer)

    with raw_server(serve) as address:
        outcome = send(f"http://{address}/")
    assert outcome.status is None
    assert outcome.reason


# --- TLS -----------------------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority(tmp_path)
    authority.certify("localhost")
    return authority


@pytest.fixture
def encrypted(authority: Authority, settings: Any) -> Iterator[Receiver]:
    settings.WEBHOOKS_ALLOW_PRIVATE = True
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(authority.certificate, authority.key)
    with Receiver(tls=tls).listening() as receiver:
        yield receiver


def test_a_certificate_is_verified_for_the_name_of_the_url(
    encrypted: Receiver, authority: Authority, monkeypatch: pytest.MonkeyPatch
):
    assert "CERTIFICATE_VERIFY_FAILED" in send(f"https://localhost:{encrypted.port}/").reason
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    assert send(f"https://localhost:{encrypted.port}/").status == 204
    assert "doesn't match 'localhost'" in send(f"https://127.0.0.1:{encrypted.port}/").reason
    assert len(encrypted.requests) == 1
