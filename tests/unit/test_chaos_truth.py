"""The comparison of the chaos suite finds what is wrong: otherwise its form with several connectors proves nothing."""

import pytest

from tests.chaos.sightings import Gap, Sighting, Told
from tests.chaos.wanted import Act, Firm, History, judge, spans

A, B, C = "abc"


def act(began, *rules, kind="change"):
    return Act(kind=kind, began=began, done=began, rules=frozenset(rules))


def firm(at, claimed, *rules):
    return Firm(at=at, claimed_ms=claimed * 1000, rules=frozenset(rules))


STORY = History(
    acts=[act(10, A, B, kind="create"), act(30, A, C), act(40, A, C, kind="pause"), act(60, A, C, kind="resume")],
    firms=[firm(20, 17, A, B), firm(80, 75, A, C)],
)
"""Covered since 12 s; B goes and C comes, somewhen between 17 and 75 s."""


@pytest.mark.parametrize(
    ("at", "labels", "is_there", "wrong"),
    [
        (2, A, True, "stray"),  # long before it was made
        (8, A, True, None),  # another connector had the rule, and X was late
        (11, A, False, None),  # before its coverage
        (13, A, False, "missing"),
        (13, A, True, None),
        (13, C, True, "stray"),
        (50, A, False, "missing"),  # it was paused, and that is repaired
        (50, B, False, None),
        (50, B, True, None),
        (50, B + C, True, None),
        (50, "d", True, "stray"),
        (76, C, False, "missing"),
        (76, B, True, "stray"),
        (76, "", True, "stray"),
    ],
)
def test_what_a_connector_is_to_have(at, labels, is_there, wrong):
    """All that each set of rules asked for meanwhile has; nothing that none of them has."""
    verdict = judge({1: (at * 1000, frozenset(labels))}, {1} if is_there else set(), spans(STORY, 12_000))

    assert ((1,) if wrong == "missing" else ()) == verdict.missing
    assert ((1,) if wrong == "stray" else ()) == verdict.strays


def test_an_act_right_behind_a_sure_moment():
    """Only then it is known what the connector missed alone."""
    pause, resume = STORY.acts[2:]

    assert STORY.firm_before(act(25, A, B))
    assert not STORY.firm_before(pause)
    assert STORY.firm_after(resume.began) == STORY.firms[1]
    assert STORY.firm_after(81) is None


def sighting(covered_to, *gaps, worker="w1"):
    return Sighting(
        at=0.0, worker=worker, covered_from_ms=0, covered_to_ms=covered_to, gaps=tuple(map(gap, gaps)), repaired=()
    )


def gap(ends):
    from_ms, to_ms = ends
    return Gap(from_ms=from_ms, to_ms=to_ms, reason="paused", state="open", detail=None, posts=0)


@pytest.mark.parametrize(
    ("seen", "taken_back"),
    [
        ([sighting(10), sighting(10, (10, 20))], 0),
        ([sighting(10), sighting(30, (9, 20))], 1),
        ([sighting(10, (5, 8)), sighting(20, (6, 8))], 0),  # a gap is divided
        ([sighting(10), sighting(9, (9, 20), worker="w2")], 0),  # another worker knows less
    ],
)
def test_claims_that_are_taken_back(seen, taken_back):
    """What one worker said to be covered must not become a gap."""
    told = Told()
    for each in seen:
        told.keep(each)

    assert taken_back == len(told.taken_back)
