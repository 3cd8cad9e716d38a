"""The difference between two documents, as a JSON merge patch (RFC 7396).  (Pure.)"""

from collections.abc import Mapping
from typing import Any


def patch_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return what turns *before* into *after*: objects are merged, None removes a key, all else replaces."""
    patch: dict[str, Any] = dict.fromkeys(key for key in before if key not in after)
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            if old is not value and (inner := patch_of(old, value)):
                patch[key] = inner
        elif key not in before or old != value:
            patch[key] = value
    return patch
