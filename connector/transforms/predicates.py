"""The predicates: `HasHeaderKey`, `TopicNameMatches` and `RecordIsTombstone`."""

import re
from dataclasses import dataclass
from typing import Annotated

from connector.config.options import Option, text
from connector.transforms.by_topic import ByTopic
from connector.transforms.java_regex import compiled
from connector.transforms.record import Record

HAS_HEADER_DOC = "Holds for records with a header of that name; posts that a repair has found have the header `source`."
TOPIC_MATCHES_DOC = "Holds for records whose topic matches a regular expression as a whole."
TOMBSTONE_DOC = "Holds for records without a value, as a transform before may have made them."


@dataclass(frozen=True, slots=True, kw_only=True)
class HasHeaderOptions:
    """The options of `HasHeaderKey`."""

    name: Annotated[str, Option(text(), "", "Name of the header.")]


class HasHeaderKey:
    """Holds for records with a header of that name."""

    def __init__(self, options: HasHeaderOptions) -> None:
        self._name = options.name

    def test(self, record: Record) -> bool:
        return any(name == self._name for name, _ in record.headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicMatchesOptions:
    """The options of `TopicNameMatches`."""

    pattern: Annotated[re.Pattern[str], Option(text(compiled), "", "Regular expression of Java for the whole topic.")]


class TopicNameMatches:
    """Holds for records whose topic matches."""

    def __init__(self, options: TopicMatchesOptions) -> None:
        self._pattern = options.pattern
        self._known = ByTopic(lambda topic: self._pattern.fullmatch(topic) is not None)

    def test(self, record: Record) -> bool:
        return self._known[record.topic]


@dataclass(frozen=True, slots=True, kw_only=True)
class TombstoneOptions:
    """`RecordIsTombstone` has no options."""


class RecordIsTombstone:
    """Holds for records without a value."""

    def __init__(self, options: TombstoneOptions) -> None:
        pass

    def test(self, record: Record) -> bool:
        return record.value is None
