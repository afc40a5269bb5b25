"""A certificate authority of an organiser's own, for phones in the same network as a laptop.

Phones trust it after its certificate was installed on them. Of host names it can certify only those that it
was made for, so a stolen key is worth nothing for other sites. Addresses have no such limit, because gRPC's
library refuses certificates with an address if their authority limits addresses.
"""

import datetime as dt
import ipaddress
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from connect import atomic_file

VALID = dt.timedelta(days=397)  # phones refuse certificates for longer
LOCAL_NAMES = ("localhost", "locations", "local")
_ISSUER = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Connect, local authority")])


class NotPermitted(ValueError):
    """The authority of this folder may not certify a name."""


class Authority:
    """The authority in a folder, which is made if there is none: `file` is its certificate.

    What it certifies is in `certificate` and `key`, which are written anew each time. All files are PEM.
    """

    def __init__(self, folder: Path, names: Iterable[str] = ()) -> None:
        """`names` are host names that it may certify, if it is made now."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.file, own_key = folder / "authority.pem", folder / "authority-key.pem"
        self.certificate, self.key = folder / "certificate.pem", folder / "key.pem"
        if self.file.exists() and own_key.exists():
            key = serialization.load_pem_private_key(own_key.read_bytes(), password=None)
            self._key = cast("ec.EllipticCurvePrivateKey", key)
            self._own = x509.load_pem_x509_certificate(self.file.read_bytes())
            return
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._own = self._sign(
            _about(_ISSUER, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(key_cert_sign=True), critical=True)
            .add_extension(x509.NameConstraints(_permitted(names), None), critical=True)
        )
        atomic_file.write(own_key, _pem_of(self._key))
        atomic_file.write(self.file, _pem(self._own))

    def certify(self, *names: str) -> int:
        """Certifies host names and addresses; returns the serial number. Raises NotPermitted."""
        if self._own.not_valid_after_utc < dt.datetime.now(dt.UTC) + dt.timedelta(days=1):
            raise NotPermitted(f"{self.file} has expired.")
        for name in names:
            if not self._may_certify(name):
                raise NotPermitted(f"{self.file} may not certify {name}: it was made for other names.")
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0][:64])])
        certificate = self._sign(
            _about(subject, key.public_key(), latest=self._own.not_valid_after_utc)
            .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        )
        atomic_file.write(self.certificate, _pem(certificate))
        atomic_file.write(self.key, _pem_of(key))
        self.ends = certificate.not_valid_after_utc
        return certificate.serial_number

    def settings(self) -> dict[str, str]:
        """The TLS settings of servers and their clients."""
        return {"TLS_CERTIFICATE": str(self.certificate), "TLS_KEY": str(self.key), "TLS_CA": str(self.file)}

    def _may_certify(self, name: str) -> bool:
        if _address(name) is not None:
            return True
        constraints = self._own.extensions.get_extension_for_class(x509.NameConstraints).value
        domains = [each.value for each in constraints.permitted_subtrees or ()]
        return any(name == domain or name.endswith(f".{domain}") for domain in domains)

    def _sign(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        own = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return builder.add_extension(own, critical=False).sign(self._key, hashes.SHA256())


def _permitted(names: Iterable[str]) -> list[x509.GeneralName]:
    """The host names that the authority may certify, with all names below them."""
    hosts = [name for name in names if _address(name) is None]
    return [x509.DNSName(name) for name in dict.fromkeys([*LOCAL_NAMES, *hosts])]


def _about(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, latest: dt.datetime | None = None
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    end = now + VALID - dt.timedelta(hours=2)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(_ISSUER)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(min(end, latest or end))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address, if the name is one."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _general(name: str) -> x509.GeneralName:
    address = _address(name)
    return x509.DNSName(name) if address is None else x509.IPAddress(address)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _pem_of(key: ec.EllipticCurvePrivateKey) -> str:
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, *form).decode()
