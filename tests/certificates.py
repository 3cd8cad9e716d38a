"""Authorities, certificates and keys for tests: good ones, and each kind of wrong one."""

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12

DAY = timedelta(days=1)

# Python 3.13 asks for it of an authority, and for the identifiers of keys.
_SIGNS = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self, password: str | None = None) -> bytes:
        """The key in PKCS#8, locked by *password*, if there is one."""
        locked = (
            serialization.NoEncryption()
            if password is None
            else serialization.BestAvailableEncryption(password.encode())
        )
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)

    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def pkcs12(self) -> bytes:
        return pkcs12.serialize_key_and_certificates(
            b"client", self.key, self.certificate, None, serialization.NoEncryption()
        )

    def write(self, folder: Path, name: str, password: str | None = None) -> tuple[Path, Path]:
        """Write certificate and key into *folder*, each into a file of its own; return the paths."""
        certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
        certificate.write_bytes(self.certificate_pem())
        key.write_bytes(self.key_pem(password))
        return certificate, key

    def write_store(self, folder: Path, name: str) -> Path:
        """Write a PEM key store, as a broker reads it."""
        path = folder / f"{name}.pem"
        path.write_bytes(self.key_pem() + self.certificate_pem())
        return path


class Authority:
    """Signs certificates."""

    def __init__(self, name: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(name)
        certificate = (
            _begin(subject, subject, key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_SIGNS, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        self.identity = Identity(certificate, key)

    def write(self, folder: Path, name: str) -> Path:
        path = folder / f"{name}.crt"
        path.write_bytes(self.identity.certificate_pem())
        return path

    def sign(
        self,
        name: str,
        *,
        hosts: tuple[str, ...] = ("localhost",),
        addresses: tuple[str, ...] = ("127.0.0.1",),
        expired: bool = False,
    ) -> Identity:
        """Return a certificate for *hosts* and *addresses*; an *expired* one ended yesterday."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.DNSName(host) for host in hosts]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        until = datetime.now(UTC) - DAY if expired else None
        certificate = (
            _begin(_name(name), self.identity.certificate.subject, key, until)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.identity.key.public_key()), critical=False
            )
            .sign(self.identity.key, hashes.SHA256())
        )
        return Identity(certificate, key)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _begin(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, until: datetime | None = None
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 10 * DAY)
        .not_valid_after(until or now + 10 * DAY)
    )
