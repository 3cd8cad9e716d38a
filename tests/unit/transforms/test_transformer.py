import json
from pathlib import Path

import pytest

from connector.config.chain import TRANSFORMS, Chosen, Kind
from connector.config.options import Given, draft
from connector.errors import BadRecord, TransformFailed
from connector.transforms.catalogue import CATALOGUE
from connector.transforms.chain import Chain
from connector.transforms.transformer import TOPICS_MAX, Transformer

LINE = (
    b'{"data": {"id": "7", "text": "hello"},  "matching_rules":[{"tag":"posts/b"},{"tag":"other/x"},{"tag":"posts/a"}]}'
)
MAX_BYTES = 1_000


def named(cls, **texts):
    kind = CATALOGUE.find(TRANSFORMS, cls)
    given = Given(texts={name.replace("_", "."): text for name, text in texts.items()}, environ={}, directory=Path("/"))
    return Chosen(alias=cls.lower(), kind=kind, options=draft(kind.model, kind.options.values(), given).model)


def doing(change):
    """A transform that does *change* to each record."""

    class Own:
        def apply(self, record):
            change(record)
            return record

    return Chosen(alias="own", kind=Kind(name="own", doc="", options={}, model=dict, make=lambda _: Own()), options={})


def transformer(*chosen):
    return Transformer(
        Chain(chosen), connector="posts", topic="posts", labels=("a", "b"), reserved=["connector-offsets", "dead"]
    )


def record_of(*chosen, line=LINE, source=None, max_bytes=MAX_BYTES):
    return transformer(*chosen).record_of(7, line, 5, source, max_bytes)


def test_value_and_key():
    """What the chain makes of the parsed line is written once; the line of X stays with the record."""
    record = record_of(named("ExtractField$Value", field="data"), named("ValueToKey", fields="id"))

    assert (b'{"id":"7"}', {"id": "7", "text": "hello"}) == (record.key, json.loads(record.value))
    assert (5, None) == (record.timestamp_ms, record.source)
    assert (7, None, (), LINE) == (
        record.altered.post_id,
        record.altered.topic,
        record.altered.headers,
        record.altered.line,
    )


def test_a_value_that_no_transform_changes_is_the_line():
    """Byte for byte, and only once in memory."""
    record = record_of(named("RegexRouter", regex="posts", replacement="others"), named("HoistField$Key", field="id"))

    assert record.value is LINE
    assert ("others", b"") == (record.altered.topic, record.altered.line)
    assert b'{"id":"7"}' == record.key


def test_dropped():
    """None for a post that a transform drops."""
    assert record_of(named("Filter")) is None


def test_labels():
    """Those of this connector, in the order of its configuration."""
    found = []
    record_of(doing(lambda record: found.append(record.labels)))
    assert [("a", "b")] == found


@pytest.mark.parametrize("rules", [None, "x", [1, {"tag": 1}, {}], [{"tag": "other/a"}], []])
def test_no_labels(rules):
    """Whatever X sends in their place."""
    found = []
    record_of(
        doing(lambda record: found.append(record.labels)),
        line=json.dumps({"data": {"id": "7"}, "matching_rules": rules}).encode(),
    )
    assert [()] == found


def test_labels_of_rules_that_others_want_too():
    """Such a rule stands at X once, under the tag of one of them: its id tells."""
    found = []
    each = transformer(doing(lambda record: found.append(record.labels)))
    each.know_rules({"9": "b", "8": "a"})
    rules = [{"id": "9", "tag": "other/x"}, {"id": "7", "tag": "posts/a"}, {"id": ["8"], "tag": None}]
    each.record_of(7, json.dumps({"data": {"id": "7"}, "matching_rules": rules}).encode(), 5, None, MAX_BYTES)

    assert [("a", "b")] == found


def test_headers():
    """The one of a repair comes first, as without transforms; others follow."""
    record = record_of(
        doing(lambda record: setattr(record, "headers", (*record.headers, ("lang", b"de")))), source=b"search"
    )
    assert (b"search", (("lang", b"de"),)) == (record.source, record.altered.headers)


def test_no_key_and_no_value():
    """As in Connect, a field that is absent leaves none."""
    record = record_of(
        named("ValueToKey", fields="absent"),
        named("ExtractField$Key", field="absent"),
        named("ExtractField$Value", field="absent"),
    )
    assert (b"", b"") == (record.key, record.value)
    assert (True, True, LINE) == (record.altered.keyless, record.altered.tombstone, record.altered.line)


WRONG = [
    ({"topic": "a b"}, "The transforms give the post 7 the topic 'a b', which cannot be 'a b': Kafka allows"),
    ({"topic": ""}, "which cannot be ''"),
    ({"topic": "dead"}, "which the connector itself writes to"),
    ({"topic": "connector-offsets"}, "which the connector itself writes to"),
    ({"topic": ["posts"]}, "its topic ['posts'] is no text"),
    ({"timestamp_ms": -1}, "its timestamp -1 is no time"),
    ({"timestamp_ms": 1.5}, "its timestamp 1.5 is no time"),
    ({"timestamp_ms": 2**63}, "is no time"),
    ({"headers": "lang"}, "its headers are no pairs"),
    ({"headers": (("lang", "de"),)}, "its headers are no pairs"),
    ({"headers": ((b"lang", b"de"),)}, "its headers are no pairs"),
    ({"headers": (("h", b""),) * 101}, "it has 101 headers"),
    ({"value": {1, 2}}, "cannot be written as JSON"),
    ({"key": object()}, "cannot be written as JSON"),
]


@pytest.mark.parametrize(("parts", "words"), WRONG)
def test_what_cannot_be_delivered(parts, words):
    """A sentence that names the post, before anything goes to Kafka."""

    def change(record):
        for name, part in parts.items():
            setattr(record, name, part)

    with pytest.raises(TransformFailed) as caught:
        record_of(doing(change))

    assert words in str(caught.value)
    assert "post 7" in str(caught.value)


def test_too_large():
    """Key, value and headers together, after the transforms: a large line may become a small record."""
    take = named("ReplaceField$Value", include="matching_rules")
    large = LINE.replace(b"hello", b"x" * MAX_BYTES)

    assert record_of(take, line=large) is not None
    with pytest.raises(BadRecord, match=r"a record of .* bytes, the topic takes 1000: raise max.message.bytes"):
        record_of(named("Flatten$Value"), line=large)


def test_too_deep():
    """A line that cannot be read as objects is an error of the record."""
    deep = b'{"data":{"id":"7"},"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with pytest.raises(TransformFailed, match=r"post 7 cannot be given to transforms: .*nested too deeply"):
        record_of(named("Flatten$Value"), line=deep)


def test_topics_have_a_bound():
    """A transform that makes a topic of each post does not fill the cluster."""
    numbers = iter(range(TOPICS_MAX + 1))
    each = transformer(doing(lambda record: setattr(record, "topic", f"t{next(numbers)}")))
    for _ in range(TOPICS_MAX):
        each.record_of(7, LINE, 5, None, MAX_BYTES)

    with pytest.raises(TransformFailed, match="1000 topics are the most"):
        each.record_of(7, LINE, 5, None, MAX_BYTES)
