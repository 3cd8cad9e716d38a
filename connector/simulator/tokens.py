"""Page tokens: opaque texts that say where the next page begins, and that never expire."""

from __future__ import annotations

import hashlib

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_ID_DIGITS = 13
"""Base-36 digits of a 64-bit number."""


def _seal(scope: str, digits: str, length: int) -> str:
    return hashlib.sha256(f"{scope}\n{digits}".encode()).hexdigest()[:length]


def encode_page(last_id: int, scope: str, *, length: int) -> str:
    """
    Return a token of *length* characters for the page after *last_id*.

    The token holds the id, and a hash of the id and of *scope*, the request that the token belongs to.
    """
    digits = ""
    rest = last_id
    for _ in range(_ID_DIGITS):
        rest, digit = divmod(rest, 36)
        digits = _DIGITS[digit] + digits
    prefix = "b26v89c19zqg8o3f"[: max(length - _ID_DIGITS - 16, 0)]
    seal = _seal(scope, digits, length - len(prefix) - _ID_DIGITS)
    return prefix + digits + seal


def decode_page(token: str, scope: str, *, length: int) -> int | None:
    """Return the id in a token; none if the token was not made for this request."""
    prefix = max(length - _ID_DIGITS - 16, 0)
    digits = token[prefix : prefix + _ID_DIGITS]
    if len(token) != length or not set(digits) <= set(_DIGITS):
        return None
    last_id = int(digits, 36)
    return last_id if encode_page(last_id, scope, length=length) == token else None
