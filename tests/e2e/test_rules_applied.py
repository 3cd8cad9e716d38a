"""Rules that somebody has deleted at X by hand: any worker shows it, and asks the owner of the task to add them."""

from collections.abc import Callable
from typing import Any

import pytest

from connector.simulator import SimulatorThread
from tests import topics
from tests.brokers import Broker
from tests.workers import Worker, Workers, environment, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

ASK = {"connector": "posts", "action": "apply"}


def plan(worker: Worker) -> dict[str, Any]:
    status, found = worker.get("/rules?connector=posts")
    assert 200 == status, found
    return dict(found)


def counts(worker: Worker) -> tuple[int, int, int, int]:
    found = plan(worker)["counts"]
    return found["add"], found["delete"], found["unchanged"], found["others"]


def test_rules_deleted_by_hand(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """The owner has not noticed; a worker without the task asks it, and posts come again: what was missed is a gap."""
    x = simulate(keepalive_s=1)
    settings = environment(broker, x.url, fresh)
    first, second = workers.start(settings).wait_ready(), workers.start(settings).wait_ready()
    owner = wait_for(lambda: next((each for each in (first, second) if each.tasks), None), "a task")
    standby = second if owner is first else first
    wait_for(lambda: x.connections, "a connection")
    right = wait_for(lambda: counts(standby) == (0, 0, 1, 0), "the rules are right")
    x.clear_rules()
    x.add_rule("#elsewhere", "program/elsewhere")
    missing = wait_for(lambda: counts(standby) == (1, 0, 0, 1), "the rule is missed")
    assert ["program/elsewhere"] == [rule.tag for rule in x.simulator.rules]

    assert (202, {"asked": "posts"}) == standby.post("/rules", ASK)
    owner.wait_event("rules.changed", count=2, added=1, deleted=0)
    wait_for(lambda: counts(standby) == (0, 0, 1, 1), "X holds the rule")
    asked = standby.wait_event("rules.look_asked", connector="posts")
    sent = x.emit_post("a #murmuration again")
    owner.wait_delivered(1)
    gap = wait_for(lambda: standby.get("/coverage")[1]["connectors"][0]["gaps"], "what was missed is a gap")[0]

    assert right
    assert missing
    assert "by" not in asked  # nobody has logged in
    assert [sent] == topics.ids(topics.read(broker, fresh))
    assert "rules" in gap["reason"]
    assert 1 == len(x.connections)

    assert 202 == standby.put("/connectors/posts/pause")[0]
    wait_for(lambda: not [rule for rule in x.simulator.rules if rule.tag.startswith("posts/")], "its rules are gone")
    status, refused = standby.post("/rules", ASK)
    shown = plan(owner)
    assert [0, 0] == [first.stop(), second.stop()]

    assert 409 == status
    assert "its rules are put in force when it is resumed" in refused["message"] == shown["objection"]
    assert "PAUSED" == shown["state"]
