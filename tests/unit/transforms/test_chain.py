import pytest

from connector.config.chain import PREDICATES, TRANSFORMS, Chosen, Kind
from connector.config.options import Given, draft
from connector.errors import BadRecord, TransformFailed
from connector.transforms.catalogue import CATALOGUE
from connector.transforms.chain import Chain
from connector.transforms.record import Record


def chosen(alias, cls, /, *, family=TRANSFORMS, predicate=None, negate=False, **options):
    kind = CATALOGUE.find(family, cls)
    texts = {option.replace("_", "."): text for option, text in options.items()}
    found = draft(kind.model, kind.options.values(), Given(texts=texts, environ={}, directory="/"))
    assert () == found.problems
    return Chosen(alias=alias, kind=kind, options=found.model, predicate=predicate, negate=negate)


def record(value=None, **parts):
    return Record(**{"topic": "posts", "key": "7", "value": value, "timestamp_ms": 5, "post_id": 7} | parts)


SOURCE = chosen("repaired", "HasHeaderKey", family=PREDICATES, name="source")


def test_in_order():
    """Each transform gets what the one before has made."""
    chain = Chain(
        [
            chosen("take", "ExtractField$Value", field="data"),
            chosen("key", "ValueToKey", fields="id"),
            chosen("text", "ExtractField$Key", field="id"),
            chosen("route", "RegexRouter", regex="(.*)", replacement="$1.$1"),
            chosen("say", "InsertField$Value", topic_field="topic"),
        ]
    )
    after = chain.apply(record({"data": {"id": "9", "text": "hello"}}))

    assert ("9", {"id": "9", "text": "hello", "topic": "posts.posts"}) == (after.key, after.value)


@pytest.mark.parametrize(("negate", "headers", "kept"), [(False, (), True), (True, (), False)])
def test_predicate(negate, headers, kept):
    """The transform is used where the predicate holds, or with `negate` where it does not."""
    chain = Chain([chosen("drop", "Filter", predicate=SOURCE, negate=negate)])

    assert kept == (chain.apply(record(headers=headers)) is not None)
    assert kept != (chain.apply(record(headers=(("source", b"search"),))) is not None)


def test_an_error_names_transform_and_post():
    """One sentence: which transform, which post, what is wrong."""
    chain = Chain([chosen("hide", "MaskField$Value", fields="text")])
    with pytest.raises(TransformFailed) as caught:
        chain.apply(record(["no", "object"]))

    assert "The transform hide (MaskField$Value) cannot take the post 7: it needs an object and found a list" == str(
        caught.value
    )
    assert "hide" == caught.value.transform
    assert isinstance(caught.value, BadRecord)


class Breaks:
    def __init__(self, answer):
        self.answer = answer

    def apply(self, record):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (KeyError("text"), "KeyError: 'text'"),
        (RecursionError("deep"), "RecursionError: deep"),
        (ValueError("it is odd"), "post 7: it is odd"),
        ("a text", "TypeError: it returned str in place of a record"),
    ],
)
def test_whatever_a_transform_does(answer, words):
    """Any error of any transform is one of its record."""
    kind = Kind(name="breaks", doc="", options={}, model=dict, make=lambda _: Breaks(answer))
    with pytest.raises(TransformFailed, match="The transform odd") as caught:
        Chain([Chosen(alias="odd", kind=kind, options={})]).apply(record({}))

    assert words in str(caught.value)


def test_a_transform_does_not_change_which_post_it_is():
    """A record that a transform makes anew is still that of its post, and of the rules which the post matched."""
    again = Record(topic="posts", key="8", value={}, timestamp_ms=5)
    kind = Kind(name="new", doc="", options={}, model=dict, make=lambda _: Breaks(again))
    after = Chain([Chosen(alias="new", kind=kind, options={})]).apply(record({}, labels=("cats",)))

    assert (7, ("cats",), "8") == (after.post_id, after.labels, after.key)


def test_parts_do_not_share_objects_that_change():
    """A later transform of the value leaves the key as it is."""
    chain = Chain(
        [
            chosen("key", "ValueToKey", fields="data"),
            chosen("take", "ExtractField$Value", field="data"),
            chosen("say", "InsertField$Value", static_field="by", static_value="me"),
        ]
    )
    after = chain.apply(record({"data": {"id": "9"}}))

    assert {"data": {"id": "9"}} == after.key
    assert {"id": "9", "by": "me"} == after.value
