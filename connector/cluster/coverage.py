"""Covered time and gaps of a connector, from the offsets topic that every worker follows; for web and command line."""

from collections.abc import Mapping
from typing import Any

from connector.config.fields import RECHECK
from connector.coverage.offset import Coverage, Gap, GapState
from connector.coverage.spend import MILLS
from connector.kafka.state.offsets import OffsetTable
from connector.records.snowflake import to_iso

SILENT_SECS = 45.0
"""
If `covered_to` has not changed for so many seconds plus the settle time, there is an outage.

A keep-alive comes every 20 s, and is committed within 5 s.  A takeover by another worker takes up to a session timeout.
"""

SILENT = "silent"
"""The reason of an outage that no task has reported."""

GOES_ON = "it goes on"
"""The detail of an outage that has not ended, and so is not a gap in the offset yet."""

SHOWN_CLOSED = 100


def coverage_of(connector: str, offsets: OffsetTable, outages: Mapping[str, str], *, settle_ms: int) -> dict[str, Any]:
    """
    Return the covered time and the gaps of *connector*, as JSON.

    *outages* maps each source partition without a connection (`""` for a stream without partitions) to the reason.  An
    outage that goes on is shown to end now.  "Now" is computed from the covered time and the seconds since it changed
    last, because this host's clock may be wrong.  A recheck has none: what it could not ask it asks later.

    Raises:
        ValueError: the records of *connector* in the offsets topic cannot be read.
    """
    listed = offsets.coverage(connector)
    known = [(partition.get("partition"), Coverage.decode(value), silent) for partition, value, silent in listed]
    misses = not all(partition.get("stream") == RECHECK for partition, _, _ in listed)
    gaps = []
    for partition, coverage, silent in known:
        gaps += [_shown(gap, partition) for gap in coverage.gaps]
        reason = outages.get(partition or "")
        if reason is None and silent > settle_ms / 1000 + SILENT_SECS:
            reason = SILENT
        if misses and reason is not None and (outage := _outage(coverage, silent, settle_ms, reason)) is not None:
            gaps.append(_shown(outage, partition))
    closed = [
        _shown(_closed(fields), partition.get("partition")) | {"closed_at": fields.get("closed_at")}
        for partition, listed in offsets.kept(connector, "repaired")
        for fields in _listed(listed)
    ]
    begins = [coverage.covered_from_ms for _, coverage, _ in known if coverage.covered_from_ms is not None]
    ends = [coverage.covered_to_ms for _, coverage, _ in known if coverage.covered_to_ms is not None]
    return {
        "name": connector,
        "covered_from": to_iso(max(begins)) if begins else None,
        "covered_to": to_iso(min(ends)) if ends else None,
        "gaps": sorted(gaps, key=lambda gap: (gap["from"], gap["to"])),
        "repaired": sorted(closed, key=lambda gap: gap["closed_at"] or "")[-SHOWN_CLOSED:],
    }


def coverage_or_error(
    connector: str, offsets: OffsetTable, outages: Mapping[str, str], *, settle_ms: int
) -> dict[str, Any]:
    """Return what `coverage_of` returns, or an `error` if the records of *connector* cannot be read."""
    try:
        return coverage_of(connector, offsets, outages, settle_ms=settle_ms)
    except ValueError as exc:  # its task FAILS, and its status names the cure
        return {
            "name": connector,
            "covered_from": None,
            "covered_to": None,
            "gaps": [],
            "repaired": [],
            "error": str(exc),
        }


def known_gaps(shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return those of the *shown* gaps that can be retried or accepted: all but outages that go on."""
    return [gap for gap in shown if gap["detail"] != GOES_ON]


def _outage(coverage: Coverage, silent: float, settle_ms: int, reason: str) -> Gap | None:
    if coverage.covered_to_ms is None:
        return None
    since = max([coverage.covered_to_ms, *(gap.to_ms for gap in coverage.gaps)])
    now = coverage.covered_to_ms + settle_ms + int(silent * 1000)
    if now <= since:
        return None
    return Gap(from_ms=since, to_ms=now, reason=reason, detail=GOES_ON)


def _listed(closed: Any) -> list[Any]:
    if not isinstance(closed, list):
        raise ValueError("the offsets topic has a list of closed gaps that is no list")  # noqa: TRY004  # a bad value in a topic
    return closed


def _closed(fields: Any) -> Gap:
    try:
        return Gap.of(fields)
    except (AttributeError, KeyError, OverflowError, TypeError) as exc:
        raise ValueError(f"the offsets topic has a closed gap that cannot be read: {exc}") from exc


def _shown(gap: Gap, partition: str | None) -> dict[str, Any]:
    fields = gap.fields()
    shown = {
        "from": fields["from"],
        "to": fields["to"],
        "reason": gap.reason,
        "state": gap.state.value,
        "detail": gap.detail or None,
        "posts": gap.posts,
        "cost_usd": gap.mills / MILLS,
    }
    if gap.way is not None and gap.state in {GapState.REPAIRING, GapState.REPAIRED}:
        shown["way"] = gap.way.value
    return shown if partition is None else {**shown, "partition": partition}
