import copy

import pytest

from connector.cluster.view.verdict import OTHERS_MAX, verdict_of

SINCE = "2026-11-29T14:00:00.000Z"
LATER = "2026-11-29T15:00:00.000Z"
SPEND = {"month_share": None, "day_share": None, "month_used_up_at": None, "day_used_up_at": None}
GAP = {
    "from": SINCE,
    "seconds": 300.0,
    "reason": "connection_lost",
    "state": "open",
    "goes_on": False,
    "doing": "It waits for its repair.",
    "estimate_usd": 2.5,
}
TASK = {"auto_restart": None}
WELL = {
    "state": "RUNNING",
    "since": SINCE,
    "delivers_since": LATER,
    "detail": None,
    "trace": None,
    "tasks": {"0": TASK},
    "covered_to": LATER,
    "behind_secs": 15,
    "gaps": [],
    "spend": SPEND,
}


def state(workers=(), kafka=None, **connectors):
    return {
        "kafka": {"usable": kafka is None, "reason": kafka},
        "connectors": {name: {**copy.deepcopy(WELL), **facts} for name, facts in connectors.items()},
        "workers": {str(number): worker for number, worker in enumerate(workers)},
    }


CASES = [
    # what is so: connector's facts, level, a part of the text, since, what a person can do
    ({}, "ok", "The connector delivers, and nothing is missing.", LATER, None),
    (
        {"state": "FAILED", "trace": "NotAuthorized: 401\n at line 3"},
        "error",
        "posts FAILED: NotAuthorized: 401.",
        SINCE,
        "restart",
    ),
    (
        {"state": "FAILED", "trace": "x", "tasks": {"0": {"auto_restart": {"count": 1, "next": LATER}}}},
        "warning",
        "posts FAILED: x.",
        SINCE,
        "restart",
    ),
    ({"state": "UNASSIGNED"}, "warning", "No worker runs posts.", SINCE, "start one"),
    ({"state": "PAUSED"}, "notice", "posts is paused.", SINCE, "Resume"),
    ({"state": "STOPPED"}, "notice", "posts is stopped.", SINCE, "Resume"),
    (
        {"state": "PAUSED", "detail": "BudgetReached: used up"},
        "warning",
        "BudgetReached: used up.",
        SINCE,
        "Raise the budget",
    ),
    ({"state": "PAUSED", "detail": "OutOfCredit: no money"}, "warning", "OutOfCredit: no money.", SINCE, "Buy credits"),
    ({"gaps": [{**GAP, "goes_on": True}]}, "warning", "posts has no connection to X: connection lost.", SINCE, None),
    ({"detail": "The topic is gone"}, "warning", "posts: The topic is gone.", None, None),
    ({"behind_secs": 600}, "warning", "posts is 10 min behind", LATER, "Kafka"),
    (
        {"gaps": [{**GAP, "state": "lost", "doing": "too old"}]},
        "error",
        "a gap of 5 min: too old.",
        SINCE,
        "about $2.50",
    ),
    ({"gaps": [GAP, {**GAP, "state": "repairing"}]}, "warning", "posts repairs 2 gaps of 10 min in all.", SINCE, None),
    ({"spend": {**SPEND, "month_share": 0.83}}, "warning", "used 83% of budget.usd.per.month", None, "Raise"),
    (
        {"spend": {**SPEND, "day_share": 0.9, "day_used_up_at": LATER}},
        "warning",
        "90% of budget.posts.per.day",
        None,
        "Raise",
    ),
]


@pytest.mark.parametrize(("facts", "level", "text", "since", "cure"), CASES)
def test_verdict(facts, level, text, since, cure):
    """Each state has its level, its line, since when it is so, and what a person can do, if anything."""
    verdict = verdict_of(state(posts=facts))

    assert (level, since) == (verdict["level"], verdict["since"])
    assert text in verdict["text"]
    assert (cure is None and verdict["cure"] is None) or cure in verdict["cure"]
    assert verdict["problems"] == (level in {"error", "warning"})
    assert verdict["text"].endswith(".")
    assert ("next" in verdict, level == "ok") == (True, verdict["next"] is None)


def test_no_connector():
    """A new group has none: it is said how to get one."""
    verdict = verdict_of(state())

    assert ("notice", "There is no connector.", 0) == (verdict["level"], verdict["text"], verdict["problems"])
    assert "POST /connectors" in verdict["cure"]


def test_all_deliver_since_the_last_one_does():
    """All is well since the last one delivers; one of which that is not known says nothing."""
    verdict = verdict_of(state(a={"delivers_since": SINCE}, b={"delivers_since": LATER}, c={"delivers_since": None}))

    assert ("ok", LATER) == (verdict["level"], verdict["since"])


def test_the_worst_comes_first():
    """What needs a person stands before what goes on by itself, and that before what somebody wants so."""
    verdict = verdict_of(
        state(
            a={"state": "PAUSED"},
            b={"detail": "slow"},
            c={"state": "FAILED", "trace": "no"},
            workers=[{"state": "gone", "worker_id": "w:1", "heard": SINCE}, {"state": "here"}],
        )
    )

    assert ("error", "c", 3) == (verdict["level"], verdict["connector"], verdict["problems"])
    assert ["warning", "warning", "notice"] == [each["level"] for each in verdict["others"]]
    assert "The worker w:1 is gone." in [each["text"] for each in verdict["others"]]


@pytest.mark.parametrize(
    ("facts", "starting", "text"),
    [
        ({"kafka": "It does not answer"}, None, "Kafka cannot be used: It does not answer."),
        (
            {},
            "It has not read the topics.",
            "This worker does not know yet how the group is: It has not read the topics.",
        ),
    ],
)
def test_what_this_worker_does_not_know(facts, starting, text):
    """A worker without Kafka does not claim that all is well, nor that something is wrong."""
    verdict = verdict_of(state(posts={"state": "FAILED", "trace": "old"}, **facts), starting)

    assert ("unknown", text) == (verdict["level"], verdict["text"])


def test_it_is_bounded():
    """With a thousand problems the worst are named, and the others counted."""
    verdict = verdict_of(state(**{f"c{number}": {"detail": "slow"} for number in range(1_000)}))

    assert (1_000, OTHERS_MAX) == (verdict["problems"], len(verdict["others"]))
