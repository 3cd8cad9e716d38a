"""
The keys with which workers encrypt literal secrets in the configurations of connectors.

A secret is sealed by AES-256-GCM.  The name of the connector and that of the option are authenticated with it, so a
sealed text is worth nothing in another place: whoever may write to the topic of configurations cannot move the token of
one connector into another, or into an option that is shown.

    ${sealed:9f86d081:Base64 of nonce and ciphertext}
             └ which key
"""

import base64
import binascii
import hashlib
import importlib.util
import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from connector.config.options import Unfit, read_text
from connector.config.secret import Secret

KEY_BYTES = 32
KEYS_BYTES_MAX = 65_536
NONCE_BYTES = 12  # what NIST SP 800-38D recommends; random ones are safe for 2^32 texts of one key
MAKE_ONE = "openssl rand -base64 32"

_ID_DIGITS = 8
_SEALED = re.compile(r"\$\{sealed:([0-9a-f]{8}):([A-Za-z0-9_-]+={0,2})\}")
_HEX = re.compile(r"[0-9A-Fa-f]{64}")


class _Cipher(Protocol):
    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...
    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Key:
    """One key; *id* tells it from others and says nothing of its bytes, which *digits* are in hexadecimal."""

    id: str
    digits: Secret


class Keyring:
    """Seals with the first of *keys*, and opens with whichever one has sealed."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._first = keys[0].id if keys else None
        self._ciphers: Mapping[str, _Cipher] = {key.id: _cipher(key) for key in keys}

    def __bool__(self) -> bool:
        return self._first is not None

    def seal(self, connector: str, option: str, secret: str) -> str:
        """Return *secret* sealed for one *option* of one *connector*."""
        if self._first is None:
            raise ValueError("There is no key to seal with")
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ciphers[self._first].encrypt(nonce, secret.encode(), _place(connector, option))
        return f"${{sealed:{self._first}:{base64.urlsafe_b64encode(nonce + sealed).decode()}}}"

    def open(self, connector: str, option: str, sealed: str) -> str:
        """
        Return the secret in *sealed*.

        Raises:
            Unfit: the key is not here, or *sealed* was changed or belongs to another connector or option.
        """
        found = _SEALED.fullmatch(sealed)
        cipher = self._ciphers.get(found[1]) if found else None
        if found is None or cipher is None:
            which = found[1] if found else "?"
            raise Unfit(
                f"is encrypted with the key {which}, which is not in CONNECTOR_CONFIG_KEY_FILE of this worker: add that"
                " key, or give the secret again."
            )
        from cryptography.exceptions import InvalidTag

        try:
            data = base64.urlsafe_b64decode(found[2])
            return cipher.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], _place(connector, option)).decode()
        except (ValueError, InvalidTag):
            raise Unfit(
                "cannot be decrypted: it was changed, or belongs to another connector or option. Give the secret again."
            ) from None

    def current(self, sealed: str) -> bool:
        """Return whether *sealed* was sealed with the first key."""
        found = _SEALED.fullmatch(sealed)
        return found is not None and found[1] == self._first


def is_sealed(text: str) -> bool:
    """Return whether *text* has the form of a sealed secret."""
    return _SEALED.fullmatch(text) is not None


def read_keys(path: str) -> tuple[Key, ...]:
    """
    Return the keys in a file: 32 bytes a line, in base64 or hexadecimal; the first one seals, all open.

    Raises:
        Unfit: the file cannot be read, others may change it, or a line is no key.
    """
    content = read_text(path, limit=KEYS_BYTES_MAX)
    if Path(path).stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Unfit(f"names {path}, which other users may change: chmod 600 {path}.")
    keys = []
    for number, line in enumerate(content.splitlines(), start=1):
        if text := line.partition("#")[0].strip():
            keys.append(_key(text, f"names {path}, whose line {number}"))
    if not keys:
        raise Unfit(f"names {path}, which holds no key: {MAKE_ONE} makes one.")
    if importlib.util.find_spec("cryptography") is None:
        raise Unfit("needs the package cryptography: pip install 'murmuration-connector[encryption]'.")
    return tuple(keys)


def readable_by_all(path: Path) -> bool:
    """Return whether every user of this machine may read the file *path*."""
    return bool(path.stat().st_mode & stat.S_IROTH)


def _key(text: str, where: str) -> Key:
    try:
        material = (
            bytes.fromhex(text)
            if _HEX.fullmatch(text)
            else base64.b64decode(text.translate({ord("-"): "+", ord("_"): "/"}), validate=True)
        )
    except (binascii.Error, ValueError):
        material = b""
    if len(material) != KEY_BYTES:
        raise Unfit(f"{where} is no key: a key is {KEY_BYTES} bytes in base64, as {MAKE_ONE} writes them.")
    return Key(hashlib.sha256(b"murmuration config key:" + material).hexdigest()[:_ID_DIGITS], Secret(material.hex()))


def _cipher(key: Key) -> _Cipher:
    # 6 MB, which only those pay who set a key
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return cast("_Cipher", AESGCM(bytes.fromhex(key.digits.reveal())))


def _place(connector: str, option: str) -> bytes:
    return json.dumps([connector, option], separators=(",", ":")).encode()
