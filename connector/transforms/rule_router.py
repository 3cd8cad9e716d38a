"""
`RuleRouter`: a topic by the rule that a post matched.

A record goes to one topic.  Of the rules of this connector that a post matched, the first in the order of the
configuration decides: `hashtags`, then `rules`, then `rules.file`.  Rules for which there is no topic do not count.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from connector.config.chain import Setting
from connector.config.options import Conflict, Option, Unfit, nearest, shown, text
from connector.config.worker import legal_topic
from connector.transforms.lists import topics_by_label
from connector.transforms.record import Record

DOC = "Gives a post the topic of the first of its rules that has one, in the order of the configuration."
_TOPIC, _RULE = "${topic}", "${rule}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of `RuleRouter`."""

    topics: Annotated[
        tuple[tuple[str, str], ...],
        Option(
            topics_by_label(),
            "",
            "Topics of single rules, as `label:topic`, comma-separated. A topic may be there twice.",
            "HIGH",
        ),
    ] = ()
    topic_format: Annotated[
        str | None,
        Option(
            text(),
            "",
            "Topic of all other rules, in which `${rule}` is the rule's label and `${topic}` the present topic; none:"
            " these rules do not count.",
            "HIGH",
        ),
    ] = None


def conflicts(options: Options, setting: Setting) -> Iterable[Conflict]:
    """Yield what is wrong with several of *options* together, and with the labels of the connector's rules."""
    if not options.topics and options.topic_format is None:
        yield Conflict(("topics", "topic.format"), "is required, or topic.format: topics by the labels of rules.")
    for label, topic in options.topics:
        if label not in setting.labels:
            near = nearest(label, setting.labels)
            hint = f"did you mean {near}?" if near else "no rule of this connector has it."
            yield Conflict(("topics",), f"has the label {shown(label)}: {hint}")
        try:
            legal_topic(topic)
        except Unfit as unfit:
            yield Conflict(("topics",), f"has a topic that {unfit.rests[0]}")
    named = dict(options.topics)
    for label in setting.labels:
        if options.topic_format is not None and label not in named:
            try:
                legal_topic(_filled(options.topic_format, label, setting.topic))
            except Unfit as unfit:
                yield Conflict(
                    ("topic.format", "topics"),
                    f"makes of the rule {shown(label)} a topic that {unfit.rests[0]} Name a topic for it in topics.",
                )


def _filled(form: str, label: str, topic: str) -> str:
    return form.replace(_TOPIC, topic).replace(_RULE, label)


class RuleRouter:
    """Gives records the topic of a rule."""

    def __init__(self, options: Options) -> None:
        self._topics, self._form = dict(options.topics), options.topic_format

    def apply(self, record: Record) -> Record:
        for label in record.labels:
            topic = self._topics.get(label)
            if topic is None and self._form is not None:
                topic = _filled(self._form, label, record.topic)
            if topic is not None:
                record.topic = topic
                break
        return record
