"""A certificate authority for as long as a test lasts."""

import datetime as dt
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

WITHOUT_PASSWORD = serialization.NoEncryption()


class Authority:
    """Its own certificate is in `file`; what it certifies is in two files that are written anew each time."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "authority.pem"
        self.certificate, self.key = folder / "certificate.pem", folder / "key.pem"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"Tests of {folder.name}")])
        own = self._about(self._name, self._key).add_extension(x509.BasicConstraints(True, None), True)
        self.file.write_bytes(self._signed(own))

    def certify(self, *names: str) -> int:
        """Gives the certificate's serial number."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
        about = self._about(subject, key).add_extension(
            x509.SubjectAlternativeName([alternative(name) for name in names]), False
        )
        self.certificate.write_bytes(self._signed(about))
        pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, WITHOUT_PASSWORD
        self.key.write_bytes(key.private_bytes(*pem))
        return x509.load_pem_x509_certificate(self.certificate.read_bytes()).serial_number

    def settings(self) -> dict[str, str]:
        """For those who listen and those who ask."""
        return {
            "TLS_CERTIFICATE": str(self.certificate),
            "TLS_KEY": str(self.key),
            "TLS_CA": str(self.file),
        }

    def _about(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
        )

    def _signed(self, builder: x509.CertificateBuilder) -> bytes:
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
