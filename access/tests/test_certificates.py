"""The local authority: what clients verify, what it may certify, and its files."""

import datetime as dt
import socket
import ssl
import stat
import threading
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from django.core.management import CommandError, call_command

from access.certificates import VALID, Authority, NotPermitted


def connects(authority: Authority, name: str, trusted: Path) -> bool:
    """Whether a client that trusts this authority accepts the certificate for a name."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(authority.certificate, authority.key)
    client = ssl.create_default_context(cafile=str(trusted))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    near, far = socket.socketpair()

    def serve() -> None:
        try:
            server.wrap_socket(far, server_side=True).close()
        except (ssl.SSLError, OSError):
            far.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        client.wrap_socket(near, server_hostname=name).close()
    except ssl.SSLCertVerificationError:
        return False
    finally:
        near.close()
        thread.join(20)
    return True


def test_a_client_that_trusts_the_authority_accepts_its_names(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "a", ["laptop.example"])
    authority.certify("laptop.example", "192.168.1.5", "localhost")
    other = Authority(tmp_path / "b")
    for name in ("laptop.example", "192.168.1.5", "localhost"):
        assert connects(authority, name, authority.file)
        assert not connects(authority, name, other.file)
    assert not connects(authority, "other.example", authority.file)


def test_it_may_certify_only_its_names(tmp_path: Path) -> None:
    authority = Authority(tmp_path, ["laptop.example", "203.0.113.7"])
    authority.certify("laptop.example", "a.laptop.example", "mac.local", "10.1.2.3", "203.0.113.7", "fd00::1")
    for name in ("example", "other.example", "laptop.example.org"):
        with pytest.raises(NotPermitted, match=name):
            authority.certify("localhost", name)
    permitted = x509.load_pem_x509_certificate(authority.file.read_bytes()).extensions
    assert permitted.get_extension_for_class(x509.NameConstraints).critical


def test_the_authority_stays_and_its_keys_are_private(tmp_path: Path) -> None:
    first = Authority(tmp_path)
    before = first.file.read_bytes(), first.certify("localhost")
    second = Authority(tmp_path, ["ignored.example"])
    assert second.certify("localhost") != before[1]
    assert second.file.read_bytes() == before[0]
    assert connects(second, "localhost", first.file)
    for name in ("authority-key.pem", "key.pem"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_phones_accept_its_lifetime(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.certify("localhost")
    for file in (authority.file, authority.certificate):
        found = x509.load_pem_x509_certificate(file.read_bytes())
        assert found.not_valid_after_utc - found.not_valid_before_utc <= VALID <= dt.timedelta(days=398)


def test_the_command_prints_the_settings_of_make_up(tmp_path: Path, settings: Any) -> None:
    settings.STATE_DIR = tmp_path
    out = StringIO()
    call_command("make_certificate", "mac.local", "192.168.1.5", stdout=out)
    assert f"TLS_CERTIFICATE={tmp_path}/tls/certificate.pem" in out.getvalue()
    assert "ALLOWED_HOSTS=mac.local,192.168.1.5 API_URL=https://mac.local:30001" in out.getvalue()
    assert connects(Authority(tmp_path / "tls"), "locations", tmp_path / "tls" / "authority.pem")
    with pytest.raises(CommandError, match="Remove the folder"):
        call_command("make_certificate", "other.example", stdout=StringIO())
    with pytest.raises(CommandError, match="is no host name"):
        call_command("make_certificate", "a b", stdout=StringIO())


def test_an_authority_that_has_expired_certifies_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("access.certificates.VALID", dt.timedelta(days=3))
    authority = Authority(tmp_path)
    monkeypatch.setattr("access.certificates.VALID", VALID)
    authority.certify("localhost")
    assert authority.ends == x509.load_pem_x509_certificate(authority.file.read_bytes()).not_valid_after_utc
    monkeypatch.setattr("access.certificates.VALID", dt.timedelta(hours=9))
    with pytest.raises(NotPermitted, match="has expired"):
        Authority(tmp_path / "old").certify("localhost")
