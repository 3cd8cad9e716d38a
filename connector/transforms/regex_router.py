"""`RegexRouter`: a new topic by a regular expression."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from connector.config.chain import Setting
from connector.config.options import Conflict, Option, Unfit, text
from connector.transforms.by_topic import ByTopic
from connector.transforms.java_regex import compiled, replacement
from connector.transforms.record import Record

DOC = "Changes the topic by a regular expression, if it matches the whole topic."


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of `RegexRouter`."""

    regex: Annotated[
        re.Pattern[str], Option(text(compiled), "", "Regular expression of Java for the whole topic.", "HIGH")
    ]
    replacement: Annotated[
        str,
        Option(text(), "", "The new topic: `$1` or `${name}` is a group; a backslash stands before other `$`.", "HIGH"),
    ]


def conflicts(options: Options, _: Setting) -> Iterable[Conflict]:
    """Yield what is wrong with several of *options* together."""
    if options.regex is not None and options.replacement is not None:
        try:
            replacement(options.replacement, options.regex)
        except Unfit as unfit:
            yield Conflict(("replacement", "regex"), unfit.rests[0])


class RegexRouter:
    """Gives records whose topic matches another topic."""

    def __init__(self, options: Options) -> None:
        self._pattern, self._filled = options.regex, replacement(options.replacement, options.regex)
        self._topics = ByTopic(self._routed)

    def apply(self, record: Record) -> Record:
        record.topic = self._topics[record.topic]
        return record

    def _routed(self, topic: str) -> str:
        if self._pattern.fullmatch(topic) is None:
            return topic
        found = self._pattern.search(topic)  # as Java's replaceFirst, which may find less than the whole
        return topic if found is None else topic[: found.start()] + self._filled(found) + topic[found.end() :]
