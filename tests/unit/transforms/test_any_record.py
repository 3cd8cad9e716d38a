"""Whatever a record holds, a transform makes a record of it, drops it, or raises one sentence."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.config.chain import TRANSFORMS, Chosen
from connector.config.options import Given, draft
from connector.errors import BadRecord
from connector.transforms.catalogue import CATALOGUE
from connector.transforms.chain import Chain
from connector.transforms.transformer import Transformer

NAMES = st.sampled_from(["a", "b", "a.b", "", "t", "data", "`", "ü"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(["2026-11-01", "\ud83d"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
OPTIONS = {
    "ExtractField": [{"field": "a"}, {"field": "a.b", "field.syntax.version": "V2"}],
    "Filter": [{}],
    "Flatten": [{}, {"delimiter": "_"}],
    "HoistField": [{"field": "a"}],
    "InsertField": [{"topic.field": "a", "timestamp.field": "t"}, {"static.field": "a", "static.value": "x"}],
    "MaskField": [{"fields": "a,b"}, {"fields": "a", "replacement": "7"}, {"fields": "t", "replacement": "x"}],
    "RegexRouter": [{"regex": "(.*)", "replacement": "$1.$1"}],
    "ReplaceField": [{"include": "a"}, {"exclude": "a", "renames": "b:a"}],
    "RuleRouter": [{"topics": "a:b"}],
    "TimestampConverter": [
        {"field": field, "target.type": target, "format": "yyyy-MM-dd", "unix.precision": precision}
        for field in ("", "t")
        for target, precision in (
            ("string", "seconds"),
            ("unix", "nanoseconds"),
            ("Date", "milliseconds"),
            ("Time", "microseconds"),
            ("Timestamp", "seconds"),
        )
    ],
    "TimestampRouter": [{}],
    "ValueToKey": [{"fields": "a,b"}],
}


def chosen(kind, texts):
    found = draft(kind.model, kind.options.values(), Given(texts=texts, environ={}, directory=Path("/")))
    assert () == found.problems
    return Chosen(alias="it", kind=kind, options=found.model)


EACH = [
    chosen(kind, texts) for kind in CATALOGUE.kinds[TRANSFORMS] for texts in OPTIONS[kind.simple_name.partition("$")[0]]
]


def outcome(chain, value):
    """The record that *chain* makes of *value*, None for a dropped one, or the error."""
    transformer = Transformer(Chain(chain), connector="posts", topic="posts", labels=("a",), reserved=())
    try:
        return transformer.record_of(7, json.dumps(value).encode(), 1_793_536_496_789, None, 1_000_000)
    except BadRecord as exc:
        return exc


@pytest.mark.slow
@pytest.mark.parametrize("each", EACH, ids=[each.kind.simple_name for each in EACH])
@settings(max_examples=25)
@given(value=VALUES)
def test_one(each, value):
    """What is written is JSON, and the same each time."""
    record = outcome([each], value)
    if record is not None and not isinstance(record, BadRecord):
        assert record.altered.tombstone or json.loads(record.value) is not None or record.value == b"null"
        assert record == outcome([each], value)


@given(st.lists(st.sampled_from(EACH), max_size=5), VALUES)
def test_many(chain, value):
    """In any order."""
    outcome(chain, value)
