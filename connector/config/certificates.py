"""
Checks that the files of certificates and keys can be used, before anything starts.

A problem is the rest of a sentence that begins with the option's name (`options.Unfit`).
"""

import ssl
from collections.abc import Callable
from pathlib import Path

from connector.config.options import Unfit

FILE_BYTES_MAX = 4 * 1024 * 1024
"""More than any file of authorities needs."""

_BEGIN_CERTIFICATE = (b"-----BEGIN CERTIFICATE-----", b"-----BEGIN TRUSTED CERTIFICATE-----")
_BEGIN_KEY = b"PRIVATE KEY-----"
_LOCKED_MARKS = (b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED")
_DER = b"\x30"  # the tag SEQUENCE, the first byte of certificates, keys and PKCS#12 stores
_JKS = b"\xfe\xed\xfe\xed"


class Locked(Exception):
    """A key is locked by a password, and the password is missing or wrong."""


def never_ask(password: str | None) -> Callable[[], str]:
    """
    Return the function from which OpenSSL gets the *password* of a key.

    Without such a function OpenSSL would ask at the terminal and wait.  The function raises `Locked` if *password* is
    None.
    """

    def give() -> str:
        if password is None:
            raise Locked
        return password

    return give


def check_authorities(path: str) -> Path:
    """
    Return *path* if it is a PEM file of authorities.

    Raises:
        Unfit: it is not.
    """
    _certificates_in(path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError:
        raise Unfit(f"names {path}, in which a certificate is damaged: copy the file again.") from None
    return Path(path)


def check_certificate(path: str) -> Path:
    """
    Return *path* if it is a PEM file with a certificate.

    Raises:
        Unfit: it is not.
    """
    _certificates_in(path)
    return Path(path)


def check_key(path: str) -> Path:
    """
    Return *path* if it is a PEM file with a private key.

    Raises:
        Unfit: it is not.
    """
    content = _content(path)
    if _BEGIN_KEY not in content:
        raise Unfit(f"names {path}, {_other_form(content, 'private key')}")
    return Path(path)


def is_locked(path: Path) -> bool:
    """Return whether the key in *path* needs a password."""
    return any(mark in _content(str(path)) for mark in _LOCKED_MARKS)


def check_pair(certificate: Path, key: Path, password: str | None) -> None:
    """
    Check that *key*, opened with *password*, is the key of *certificate*.

    Raises:
        Locked: *password* does not open the key.
        Unfit: the key is of another certificate, or one of the files is damaged.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_cert_chain(certificate, key, password=never_ask(password))
    except ssl.SSLError as error:
        if error.reason in {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"}:
            raise Unfit(f"names {key}, which is not the key of the certificate in {certificate}.") from None
        if is_locked(key):
            raise Locked from None
        raise Unfit(f"names {key}, which cannot be used with {certificate}: one of the two is damaged.") from None
    except OSError as error:
        raise Unfit(f"names {key}, which cannot be read: {error.strerror}.") from None


def _certificates_in(path: str) -> None:
    content = _content(path)
    if not any(mark in content for mark in _BEGIN_CERTIFICATE):
        raise Unfit(f"names {path}, {_other_form(content, 'certificate')}")


def _content(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise Unfit(f"names {path}, which does not exist.") from None
    except OSError as error:
        raise Unfit(f"names {path}, which cannot be read: {error.strerror}.") from None
    except ValueError:  # a null character
        raise Unfit("is no path.") from None
    if len(content) > FILE_BYTES_MAX:
        raise Unfit(f"names {path}, which is longer than {FILE_BYTES_MAX} bytes.")
    if not content.strip():
        raise Unfit(f"names {path}, which is empty.")
    return content


def _other_form(content: bytes, wanted: str) -> str:
    if content.startswith(_JKS):
        return f"which is a Java key store: export the {wanted} as PEM."
    if content.startswith(_DER):
        return "which is in binary form (DER or PKCS#12): convert it to PEM with `openssl x509` or `openssl pkcs12`."
    return f"in which there is no {wanted} in PEM form (-----BEGIN ...)."
