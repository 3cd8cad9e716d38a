import ast
import dataclasses
import logging
import re
import typing
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

from connector.records.record import TaskId
from connector.telemetry import event_docs, events
from connector.telemetry.events.coverage import GapAccepted, GapEvent, GapLost, GapOpened, GapRepaired
from connector.telemetry.events.event import Event, TaskEvent
from connector.telemetry.events.formats import RegistryAwaited
from connector.telemetry.events.kafka import DeliveryFellBack
from connector.telemetry.events.sources import StreamErrorReceived, StreamErrorRepeated
from connector.telemetry.events.task import (
    BatchDelivered,
    ComplianceReceived,
    DuplicatesDropped,
    PostsFiltered,
    PostsUnmatched,
    PostsWithdrawn,
    PostsWithoutAuthor,
    PrintSkipped,
    RecordDropped,
    RulesMatched,
    StreamDisconnected,
    TaskFenced,
    TaskRestarting,
    TaskStarted,
)
from connector.telemetry.metrics import Metrics
from tests import ROOT
from tests.unit.fakes import TASK

ROOMS = {module.name: import_module(f"{events.__name__}.{module.name}") for module in iter_modules(events.__path__)}
EVENTS = [
    kind
    for module in ROOMS.values()
    for kind in vars(module).values()
    if isinstance(kind, type)
    and kind.__module__ == module.__name__
    and issubclass(kind, Event)
    and kind not in {Event, TaskEvent, GapEvent}
]
EXAMPLES = {
    str: "words",
    int: 3,
    float: 1.5,
    bool: True,
    TaskId: TASK,
    tuple[str, ...]: ("one", "two"),
    tuple[tuple[str, int], ...]: (("delete", 3),),
    tuple[tuple[float, float, int], ...]: ((0.1, 2.0, 3),),
    tuple[tuple[tuple[str, ...], int], ...]: ((("birds", "flocks"), 3), ((), 1)),
}
"""A value of each type that an event's field may have: nothing that could hold a secret's object."""


def example(kind):
    """An event of *kind* with every field filled."""
    hints = typing.get_type_hints(kind)
    values = {}
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        (plain,) = [each for each in typing.get_args(hint) or (hint,) if each is not type(None)][:1] or (hint,)
        values[field.name] = EXAMPLES[hint if hint in EXAMPLES else plain]
    return kind(**values)


def counted(event):
    """The samples that *event* changes from nothing."""
    metrics = Metrics()
    before = _samples(metrics)
    event.count(metrics)
    return {key: value for key, value in _samples(metrics).items() if value != before.get(key, 0.0)}


def _samples(metrics):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name.startswith("connector_") and not sample.name.endswith("_created")
    }


@pytest.mark.parametrize("kind", EVENTS)
def test_renders_its_fields(kind):
    """Every event says its fields, a task's event also whose it is, and nothing is an object of ours."""
    fields = example(kind).fields()

    names = {field.name for field in dataclasses.fields(kind)} - {"of"}
    if issubclass(kind, TaskEvent):
        assert {"connector": "posts", "task": 0} == {key: fields[key] for key in ("connector", "task")}
        names |= {"connector", "task"}
    if kind is BatchDelivered:
        names -= {"waits", "usd"}  # for the metrics only
    if kind is RulesMatched:
        names = names - {"matched"} | {"posts"}
    assert names == set(fields)
    assert all(isinstance(value, str | int | float | tuple) for value in fields.values())


@pytest.mark.parametrize("kind", EVENTS)
def test_has_a_name_and_a_level(kind):
    """The name is `thing.happened`, its own, and the level one of the four."""
    assert 1 == [each.name for each in EVENTS].count(kind.name)
    assert kind.name == kind.name.lower()
    assert 1 == kind.name.count(".")
    assert kind.level in {logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR}


@pytest.mark.parametrize("kind", EVENTS)
def test_no_field_can_hold_a_secret(kind):
    """Fields are plain words and numbers, and none is named after a secret."""
    for field in dataclasses.fields(kind):
        assert not {"token", "secret", "password", "key", "credentials"} & set(field.name.split("_"))


@pytest.mark.parametrize("kind", EVENTS)
def test_is_a_value(kind):
    """An event that happened does not change."""
    event = example(kind)
    with pytest.raises((dataclasses.FrozenInstanceError, AttributeError, TypeError)):
        event.anything = 1

    assert event == example(kind)


def test_absent_fields_are_left_out():
    """What is None is not said."""
    event = StreamDisconnected(of=TASK, error="ConnectionLost", reason="reset", title=None, detail=None, partition=None)

    assert {"connector": "posts", "task": 0, "error": "ConnectionLost", "reason": "reset"} == event.fields()


def buckets(name, *bounds):
    return {(f"{name}_bucket", ("le", bound)) for bound in bounds}


def test_delivered_batch_is_counted():
    """Posts, price, and how long they waited: one observation for each arrival, with the weight of its posts."""
    event = BatchDelivered(of=TASK, posts=5, waits=((0.02, 3.0, 4), (70.0, 9000.0, 1)), usd=0.02)
    samples = counted(event)

    assert 5 == samples[("connector_posts_delivered_total",)]
    assert 0.02 == samples[("connector_spend_usd_total",)]
    assert 5 == samples[("connector_delivery_seconds_count",)]
    assert 4 * 0.02 + 70.0 == samples[("connector_delivery_seconds_sum",)]
    assert 4 == samples[("connector_delivery_seconds_bucket", ("le", "0.025"))]
    assert 4 == samples[("connector_delivery_seconds_bucket", ("le", "60.0"))]
    assert 5 == samples[("connector_delivery_seconds_bucket", ("le", "+Inf"))]
    assert 4 == samples[("connector_post_age_seconds_bucket", ("le", "5.0"))]


def test_unbilled_batch_costs_nothing():
    """Under a plan that is not by post nothing is spent."""
    assert ("connector_spend_usd_total",) not in counted(BatchDelivered(of=TASK, posts=5, waits=(), usd=0.0))


GAP = {
    "of": TASK,
    "gap_from": "2026-11-01T12:00:00.000Z",
    "gap_to": "2026-11-01T12:01:00.000Z",
    "seconds": 60.0,
    "reason": "connection_lost",
    "partition": None,
}


def outcome(word):
    """The sample that counts the end of such a gap."""
    return {("connector_gaps_total", ("outcome", word), ("reason", "connection_lost")): 1}


COUNTS = [
    (PrintSkipped(posts=3), {("connector_posts_not_printed_total",): 3}),
    (DeliveryFellBack(of=TASK, reason="refused"), {("connector_fallbacks_total", ("reason", "refused")): 1.0}),
    (
        RegistryAwaited(connector="posts", waiting_secs=1.0, reason="silent", retry_in_secs=0.5),
        {("connector_schema_registry_failures_total",): 1},
    ),
    (TaskStarted(of=TASK), {("connector_task_starts_total",): 1}),
    (
        DuplicatesDropped(of=TASK, posts=3),
        {("connector_posts_dropped_total", ("intentional", "true"), ("reason", "duplicate")): 3},
    ),
    (
        DuplicatesDropped(of=TASK, posts=3, source="search"),
        {("connector_posts_dropped_total", ("intentional", "true"), ("reason", "duplicate_search")): 3},
    ),
    (
        PostsFiltered(of=TASK, posts=2),
        {("connector_posts_dropped_total", ("intentional", "true"), ("reason", "transform")): 2},
    ),
    (
        PostsUnmatched(of=TASK, posts=3),
        {("connector_posts_dropped_total", ("intentional", "true"), ("reason", "unmatched")): 3},
    ),
    (
        RulesMatched(of=TASK, matched=((("birds", "flocks"), 3), (("birds",), 1), ((), 2))),
        {
            ("connector_rule_posts_total", ("connector", "posts"), ("rule", "birds")): 4,
            ("connector_rule_posts_total", ("connector", "posts"), ("rule", "flocks")): 3,
            ("connector_rule_posts_total", ("connector", "posts"), ("rule", "(other)")): 2,
        },
    ),
    (
        ComplianceReceived(of=TASK, kinds=(("delete", 3),)),
        {("connector_compliance_events_total", ("connector", "posts"), ("kind", "delete")): 3},
    ),
    (
        PostsWithdrawn(of=TASK, kinds=(("late", 2),)),
        {("connector_posts_withdrawn_total", ("connector", "posts"), ("kind", "late")): 2},
    ),
    (
        PostsWithoutAuthor(of=TASK, lacks=(("no_format", 4),)),
        {("connector_posts_without_author_total", ("connector", "posts"), ("reason", "no_format")): 4},
    ),
    (GapRepaired(**GAP, way="search", posts=7, cost_usd=0.035), outcome("repaired")),
    (GapAccepted(**GAP), outcome("accepted")),
    (GapLost(**GAP, detail="older than the 7 days that X's search reaches back"), outcome("lost")),
    (
        RecordDropped(of=TASK, error="BadRecord", reason="no post", dead_letter_topic="bad", size_bytes=9),
        {("connector_posts_dropped_total", ("intentional", "false"), ("reason", "BadRecord")): 1},
    ),
    (
        StreamDisconnected(of=TASK, error="ConnectionLost", reason="r", title=None, detail=None, partition=None),
        {("connector_reconnects_total", ("error", "ConnectionLost")): 1},
    ),
    (StreamErrorReceived(connector="c", title="t", detail=None), {("connector_stream_errors_total",): 1}),
    (StreamErrorRepeated(connector="c", title="t", detail=None), {("connector_stream_errors_total",): 1}),
    (
        TaskRestarting(of=TASK, error="DeliveryFailed", reason="r", retry_in_secs=3.0),
        {("connector_deliveries_failed_total", ("error", "DeliveryFailed")): 1},
    ),
    (
        TaskFenced(of=TASK, dropped_posts=2),
        {
            ("connector_deliveries_failed_total", ("error", "Fenced")): 1,
            ("connector_posts_dropped_total", ("intentional", "false"), ("reason", "fenced")): 2,
        },
    ),
]


@pytest.mark.parametrize(("event", "samples"), COUNTS)
def test_counts_itself(event, samples):
    """An event counts what it says, under bounded labels."""
    assert samples == counted(event)


def test_life_of_a_gap_has_names_and_levels():
    """What opens needs a look, what is lost needs a person, the rest is a step."""
    assert [
        ("gap.opened", logging.WARNING),
        ("gap.repaired", logging.INFO),
        ("gap.accepted", logging.INFO),
        ("gap.lost", logging.ERROR),
    ] == [(kind.name, kind.level) for kind in (GapOpened, GapRepaired, GapAccepted, GapLost)]


def test_other_events_count_nothing():
    """Only what a dashboard asks for is counted."""
    counting = {type(event) for event, _ in COUNTS} | {BatchDelivered}

    assert [] == [kind for kind in EVENTS if kind not in counting and counted(example(kind))]


def imported_from(path):
    """The modules that the file at *path* imports, or imports names from, however the import is written."""
    found = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found & {module.__name__ for module in ROOMS.values()}


def test_a_room_emits_its_own_events():
    """Whoever looks for what a room can say finds it in one file."""
    exceptions = {
        ("cluster/history_writer.py", f"{events.__name__}.worker"),  # is told before the log says it
        ("sources/http/internals.py", f"{events.__name__}.worker"),  # worded for the worker, which says it at its start
        ("history/recorder.py", f"{events.__name__}.task"),  # counts what the tasks report
        ("telemetry/event_docs.py", f"{events.__name__}.coverage"),  # writes them into a page
        ("telemetry/obstacles.py", f"{events.__name__}.kafka"),  # renders what the gate waits for
        ("telemetry/traces.py", f"{events.__name__}.coverage"),  # makes spans of them, and emits none
        ("telemetry/traces.py", f"{events.__name__}.task"),
    }
    own = Path(events.__path__[0])
    package = own.parents[1]
    foreign = {
        (str(path.relative_to(package)), name)
        for path in package.rglob("*.py")
        if own not in path.parents and b"telemetry" in path.read_bytes()
        for name in imported_from(path)
        if name.rpartition(".")[2] not in {"event", path.relative_to(package).parts[0]}
    }

    assert exceptions == foreign


def test_every_event_is_emitted():
    """An event that no room imports can never happen."""
    package = Path(events.__path__[0]).parents[1]
    words = set()
    for path in package.rglob("*.py"):
        if "simulator" not in path.parts and path.parent != Path(events.__path__[0]):
            words.update(re.findall(r"\w+", path.read_text()))

    assert [] == [kind.__name__ for kind in EVENTS if kind.__name__ not in words]


@pytest.fixture(scope="module")
def page():
    return event_docs.page()


def test_the_page_is_fresh(page):
    """docs/events.md is what the events say of themselves: none is without a meaning; `make docs` writes it."""
    assert page == (ROOT / "docs" / "events.md").read_text()


@pytest.mark.parametrize("kind", EVENTS)
def test_the_page_has_each_event(page, kind):
    """With its level and every field of its log line."""
    (row,) = [line for line in page.splitlines() if line.startswith(f"| `{kind.name}` |")]

    assert f"| {logging.getLevelName(kind.level)} |" in row
    assert all(f"`{name}`" in row for name in example(kind).fields())
