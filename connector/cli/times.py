"""Times on the command line: `2026-11-01T12:00Z`, or an age such as `-2h`."""

import re

from connector.coverage.spend import DAY_MS
from connector.records.snowflake import from_iso

MINUTE_MS = 60_000
UNIT_MS = {"s": 1000, "m": MINUTE_MS, "h": 60 * MINUTE_MS, "d": DAY_MS}

_RELATIVE = re.compile(r"-(\d{1,6})([smhd])")


def time_of(text: str, now_ms: int) -> int:
    """
    Return the time that *text* names (UNIX ms); *now_ms* is the present time.

    Raises:
        ValueError: *text* names none; the message is the rest of a sentence that begins with the name of the option.
    """
    if relative := _RELATIVE.fullmatch(text.strip()):
        return now_ms - int(relative[1]) * UNIT_MS[relative[2]]
    try:
        return from_iso(text.strip())
    except (ValueError, OverflowError):
        raise ValueError(
            f"cannot be {text!r}: write a time with its zone, such as 2026-11-01T12:00Z, or an age: -30m, -2h, -1d."
        ) from None
