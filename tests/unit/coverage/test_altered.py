"""An offset that somebody sets by hand: never more than is proven."""

from dataclasses import replace

import orjson
import pytest

from connector.coverage.altered import altered
from connector.coverage.offset import Coverage, Gap, GapState
from connector.coverage.spend import Spend
from connector.records.snowflake import from_iso, to_iso

NOW_MS = from_iso("2026-11-01T13:00:00.000Z")
FROM, TO = from_iso("2026-11-01T12:00:00.000Z"), from_iso("2026-11-01T12:30:00.000Z")
GAP = Gap(from_ms=TO - 600_000, to_ms=TO - 540_000, reason="connection_lost")
SPENT = Spend(day="2026-11-01", posts=7, month="2026-11", mills=35)
PRESENT = Coverage(covered_from_ms=FROM, covered_to_ms=TO, gaps=(GAP,), posts=7, spent=SPENT, run="a", batch=3)


def alter(wanted, present=PRESENT):
    return altered(present, wanted, now_ms=NOW_MS)


def test_what_is_shown_can_be_set_again():
    """What GET answers is accepted and changes nothing."""
    assert PRESENT == alter(orjson.loads(PRESENT.encode()))


def test_taken_back():
    """Covered time is taken back; counts and money stay."""
    changed = alter({"covered_to": to_iso(TO - 700_000)})

    assert replace(PRESENT, covered_to_ms=TO - 700_000, gaps=()) == changed


def test_taken_back_into_a_gap():
    """A gap that reaches beyond the new end is cut there: the rest is not covered anyway."""
    changed = alter({"covered_to": to_iso(GAP.from_ms + 1)})

    assert (replace(GAP, to_ms=GAP.from_ms + 1),) == changed.gaps


def test_taken_back_with_all_gaps_that_are_shown():
    """Whoever changes only `covered_to` of what GET shows: a gap behind it does not hide the time before that gap."""
    shown = orjson.loads(PRESENT.encode())
    changed = alter(shown | {"covered_to": to_iso(TO - 700_000)}).connected(TO + 60_000, reason="paused")

    assert [TO - 700_000] == [gap.from_ms for gap in changed.gaps]


def test_gaps_that_join_on_to_the_end_stay():
    """A connection that ended before it could claim any time leaves such gaps."""
    outages = (Gap(from_ms=TO, to_ms=TO + 1000, reason="a"), Gap(from_ms=TO + 1000, to_ms=TO + 2000, reason="b"))
    present = replace(PRESENT, gaps=(GAP, *outages))

    assert present == alter(orjson.loads(present.encode()), present=present)


def test_a_repair_is_not_claimed():
    """What a gap says of its repair is only kept if it was so before."""
    claim = {**GAP.fields(), "until_id": str(GAP.begin_id), "state": "accepted", "posts": 1}

    assert (GAP,) == alter({"covered_to": to_iso(TO), "gaps": [claim]}).gaps
    repaired = replace(PRESENT, gaps=(replace(GAP, until_id=GAP.end_id - 1, state=GapState.REPAIRING, posts=1),))
    assert repaired == alter(orjson.loads(repaired.encode()), present=repaired)


def test_a_gap_that_is_cut_is_not_repaired_beyond_its_end():
    """What was repaired behind the new end is asked for with all that is un-covered, and once."""
    present = replace(PRESENT, gaps=(replace(GAP, until_id=GAP.end_id - 1),))
    (gap,) = alter({"covered_to": to_iso(GAP.from_ms + 1)}, present=present).gaps

    assert replace(GAP, to_ms=GAP.from_ms + 1) == gap


def test_what_is_uncovered_is_a_gap_at_the_next_connect():
    """From the new end up to the connection, as after any outage."""
    changed = alter({"covered_to": to_iso(TO - 60_000)}).connected(TO + 60_000, reason="paused")

    assert (TO - 60_000, "paused") == (changed.gaps[-1].from_ms, changed.gaps[-1].reason)
    assert changed.gaps[-1].to_ms > TO


def test_gaps_may_be_added():
    """Whoever knows of something missing can say so."""
    more = {"from": to_iso(FROM + 1000), "to": to_iso(FROM + 2000), "reason": "operator"}
    changed = alter({"covered_to": to_iso(TO), "gaps": [more, GAP.fields()]})

    assert [FROM + 1000, GAP.from_ms] == [gap.from_ms for gap in changed.gaps]


def test_a_new_offset_with_a_gap_behind_it():
    """The time between both would be in no gap."""
    later = {"from": to_iso(TO + 1000), "to": to_iso(TO + 2000), "reason": "operator"}

    assert Coverage(covered_from_ms=TO, covered_to_ms=TO) == alter(
        {"covered_to": to_iso(TO), "gaps": [later]}, present=None
    )


def test_new_offset():
    """Without an offset coverage begins where somebody says, so the time since then is repaired."""
    changed = alter({"covered_to": to_iso(TO)}, present=None)

    assert Coverage(covered_from_ms=TO, covered_to_ms=TO) == changed


REFUSED = [
    ({}, "needs"),
    ({"covered_to": 7}, "must be a time"),
    ({"covered_to": "yesterday"}, "must be a time"),
    ({"covered_to": to_iso(TO + 1)}, "cannot be later than 2026-11-01T12:30:00.000Z"),
    ({"covered_to": to_iso(NOW_MS + 3_600_000)}, "has not come yet"),
    ({"covered_to": to_iso(TO), "covered_from": to_iso(FROM - 1)}, "cannot be earlier"),
    ({"covered_to": to_iso(TO), "gaps": []}, "accept"),
    ({"covered_to": to_iso(TO), "gaps": 7}, "must be a list"),
    ({"covered_to": to_iso(TO), "gaps": [7]}, "needs"),
    ({"covered_to": to_iso(TO), "gaps": [{"from": "x"}]}, "needs"),
    ({"covered_to": to_iso(TO), "gaps": [GAP.fields(), {**GAP.fields(), "to": to_iso(TO)}]}, "overlaps"),
    ({"covered_to": to_iso(TO), "position": 7}, "no field 'position'"),
]


@pytest.mark.parametrize(("wanted", "sentence"), REFUSED)
def test_refused(wanted, sentence):
    """What claims more than is proven, or is no offset, is refused with a sentence."""
    with pytest.raises(ValueError, match=sentence):
        alter(wanted)
