"""
A source offset that somebody sets by hand.  (Pure.)

Covered means proven, so nobody can set more than is proven: a covered time may be taken back, and what that un-covers
is missing again, a gap from the next connect on, which is repaired like any other.  Counts and money stay as they are.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from connector.coverage.offset import MAX_GAPS, Coverage, Gap
from connector.records.snowflake import first_id, from_iso, to_iso

AHEAD_MS = 60_000
"""A time that is ahead of this host's clock by more than this is refused (ms)."""

TIMES = ("covered_from", "covered_to")
SHOWN = (*TIMES, "gaps", "posts", "dead_letters", "spent", "rules", "run", "batch")
"""What an offset shows; all but the times and the gaps are counts, which are taken from the present offset."""


def altered(present: Coverage | None, wanted: Mapping[str, Any], *, now_ms: int) -> Coverage:
    """
    Return *present*, None if there is no offset, as *wanted* asks; *now_ms* is the present time (UNIX ms).

    Raises:
        ValueError: *wanted* is no offset, or claims what is not proven; the message is a sentence.
    """
    if strange := sorted(set(wanted) - set(SHOWN)):
        raise ValueError(f"An offset has no field {strange[0]!r}: it has {', '.join(SHOWN[:3])}.")
    covered_to = _time(wanted, "covered_to")
    if covered_to is None:
        raise ValueError('An offset needs "covered_to", a time such as "2026-11-01T12:00:00.000Z".')
    if covered_to > now_ms + AHEAD_MS:
        raise ValueError(f'"covered_to" is {to_iso(covered_to)}, which has not come yet.')
    covered_from = _time(wanted, "covered_from")
    gaps = _gaps(wanted)
    if present is None or present.covered_to_ms is None:
        base = present or Coverage()
        begin = covered_to if covered_from is None else covered_from
        result = replace(base, covered_from_ms=begin, covered_to_ms=covered_to, gaps=_reached(gaps or (), covered_to))
    else:
        result = _taken_back(present, present.covered_to_ms, covered_from, covered_to, gaps)
    _check(result)
    return result


def _taken_back(
    present: Coverage, proven_ms: int, covered_from: int | None, covered_to: int, gaps: tuple[Gap, ...] | None
) -> Coverage:
    proven_from = covered_to if present.covered_from_ms is None else present.covered_from_ms
    if covered_to > proven_ms:
        raise ValueError(
            f'"covered_to" cannot be later than {to_iso(proven_ms)}, up to which everything is proven: let the'
            " connector run, and accept the gap that it finds (POST /coverage)."
        )
    if covered_from is not None and covered_from < proven_from:
        raise ValueError(f'"covered_from" cannot be earlier than {to_iso(proven_from)}, where coverage begins.')
    begin = proven_from if covered_from is None else covered_from
    known = tuple(_cut(gap, covered_to) for gap in present.gaps if gap.from_ms < covered_to)
    for gap in known:
        if gaps is not None and not any(new.from_ms <= gap.from_ms and gap.to_ms <= new.to_ms for new in gaps):
            raise ValueError(
                f'The gap from {to_iso(gap.from_ms)} is not in "gaps": an offset cannot claim what is missing; accept'
                " the gap (POST /coverage)."
            )
    if gaps is not None:
        kept = {*present.gaps, *known}
        known = _reached([gap if gap in kept else _missing(gap) for gap in gaps], covered_to)
    return replace(present, covered_from_ms=min(begin, covered_to), covered_to_ms=covered_to, gaps=known)


def _cut(gap: Gap, end_ms: int) -> Gap:
    """Return *gap* up to *end_ms*; what its repair has delivered behind that says nothing of the part that is left."""
    to_ms = min(gap.to_ms, end_ms)
    until_id = gap.until_id if gap.until_id is None or gap.until_id < first_id(to_ms) else None
    return replace(gap, to_ms=to_ms, until_id=until_id)


def _missing(gap: Gap) -> Gap:
    """Return *gap* as one of which nothing is repaired: what somebody writes of a repair is not proven."""
    return Gap(from_ms=gap.from_ms, to_ms=gap.to_ms, reason=gap.reason, rules=gap.rules)


def _reached(gaps: Iterable[Gap], covered_to: int) -> tuple[Gap, ...]:
    """
    Return those of *gaps*, which ascend, that begin before *covered_to*, or join on to one that reaches beyond it.

    The next connect makes a gap of the time behind the last one of them.  A gap that begins later would hide the time
    before it.
    """
    kept, end = [], covered_to
    for gap in gaps:
        if gap.from_ms <= end:
            kept.append(gap)
            end = max(end, gap.to_ms)
    return tuple(kept)


def _time(fields: Mapping[str, Any], name: str) -> int | None:
    text = fields.get(name)
    if text is None:
        return None
    try:
        return from_iso(text)
    except (AttributeError, TypeError, ValueError) as exc:
        raise ValueError(f'"{name}" must be a time such as "2026-11-01T12:00:00.000Z".') from exc


def _gaps(fields: Mapping[str, Any]) -> tuple[Gap, ...] | None:
    listed = fields.get("gaps")
    if listed is None:
        return None
    if not isinstance(listed, list) or len(listed) > MAX_GAPS:
        raise ValueError(f'"gaps" must be a list of at most {MAX_GAPS} gaps.')
    try:
        return tuple(sorted((Gap.of({"state": "open", **gap}) for gap in listed), key=lambda gap: gap.from_ms))
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as exc:
        raise ValueError('Each of "gaps" needs "from", "to" and "reason", as GET shows them.') from exc


def _check(coverage: Coverage) -> None:
    begin = coverage.covered_from_ms
    if begin is not None and coverage.covered_to_ms is not None and begin > coverage.covered_to_ms:
        raise ValueError('"covered_from" cannot be later than "covered_to".')
    before = 0
    for gap in coverage.gaps:
        if gap.from_ms >= gap.to_ms or gap.from_ms < before:
            raise ValueError(f"The gap from {to_iso(gap.from_ms)} is empty, or overlaps the one before it.")
        before = gap.to_ms
