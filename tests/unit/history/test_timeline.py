from inspect import getmembers, isclass
from string import Formatter

import pytest

from connector.history.records import Told
from connector.history.timeline import (
    FIELDS_MAX,
    GOODBYES,
    LIST_MAX,
    SENTENCES,
    TEXT_CHARACTERS_MAX,
    fields_of,
    text_of,
)
from connector.telemetry.events import cluster, coverage, kafka, sources, task, worker
from connector.telemetry.events.event import Event

EVENTS = {
    kind.name: kind
    for module in (cluster, coverage, kafka, sources, task, worker)
    for _, kind in getmembers(module, isclass)
    if issubclass(kind, Event) and hasattr(kind, "name")
}


def told(kind, **fields):
    return Told(process="p", number=1, at=1, kind=kind, level="info", worker="w:1", fields=fields)


@pytest.mark.parametrize("kind", sorted(SENTENCES))
def test_sentences_fit_their_events(kind):
    """Each sentence is of an event that there is, and names only fields that the event has."""
    names = {name for _, name, _, _ in Formatter().parse(SENTENCES[kind]) if name}

    assert names <= set(EVENTS[kind].__dataclass_fields__)


def test_goodbyes_are_told():
    """What says that a worker leaves is in the timeline."""
    assert GOODBYES <= SENTENCES.keys()


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (told("stream.disconnected", error="Lost", reason="reset."), "The connection to X ended: Lost: reset."),
        (
            told("gap.opened", seconds=12.0, gap_from="a"),
            "A gap of 12 s opened: posts made from a to ? may be missing (?).",
        ),
        (
            told("tasks.assigned", started=["posts-0", "birds-0"], stopped=[]),
            "The group dealt its tasks: posts-0, birds-0 came to this worker, nothing left it.",
        ),
        (told("tea.made", cups=2), "tea.made cups=2"),  # a newer worker may know more
        (told("{0}"), "{0}"),
    ],
)
def test_text(event, text):
    """The sentence has the fields; what is missing is a question mark, and a kind that is not known has its name."""
    assert text == text_of(event)


def test_fields_are_bounded():
    """Long texts and lists are cut, objects become text."""
    fields = fields_of({"long": "x" * 9999, "list": tuple(range(99)), "flag": True, "error": ValueError("no")})

    assert (TEXT_CHARACTERS_MAX, "…") == (len(fields["long"]), fields["long"][-1])
    assert (list(range(LIST_MAX)), True, "no") == (fields["list"], fields["flag"], fields["error"])
    assert FIELDS_MAX == len(fields_of(dict.fromkeys(range(99))))
