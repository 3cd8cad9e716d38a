"""
The creation time of a post, from its id.

An id holds 41 bits of milliseconds since 2010-11-04T01:42:54.657Z above 22 bits of machine and sequence.
"""

from datetime import UTC, datetime, timedelta

EPOCH_MS = 1_288_834_974_657
SEQUENCE_BITS = 22
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def created_ms(post_id: int) -> int:
    """Return the creation time of *post_id* in UNIX milliseconds."""
    return (post_id >> SEQUENCE_BITS) + EPOCH_MS


def first_id(ms: int) -> int:
    """Return the smallest id of the millisecond *ms* (UNIX time); 0 for times before the first id."""
    return max(ms - EPOCH_MS, 0) << SEQUENCE_BITS


def to_iso(ms: int) -> str:
    """Write UNIX milliseconds as `2026-11-01T12:34:56.789Z`."""
    return (_UNIX_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_iso(text: str) -> int:
    """
    Read an ISO 8601 time, with or without a fraction, as UNIX milliseconds.

    Raises:
        ValueError: *text* is no time, has no time zone, or is a time that `to_iso` cannot write.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone: append Z for UTC")
    try:
        moment = moment.astimezone(UTC)
    except OverflowError as exc:  # at the edge of the calendar, a time may exist only in its own time zone
        raise ValueError(f"{text!r} is no time in UTC") from exc
    return (moment - _UNIX_EPOCH) // timedelta(milliseconds=1)
