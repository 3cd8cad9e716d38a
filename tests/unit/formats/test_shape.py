"""`value.shape=post` with `value.format=json`: what is written, and that all readers of our own understand it."""

import json
from pathlib import Path

import pytest
from faust.serializers.codecs import get_codec

from connector.cli.audit.comparison import TopicTally
from connector.cli.tail.shown import Shown, lines
from connector.config.chain import TRANSFORMS, Chosen
from connector.config.options import Given, draft
from connector.errors import BadRecord
from connector.formats import codec_name
from connector.formats.post.form import PostForm
from connector.formats.post.resolving import post_of
from connector.records.post import Post
from connector.records.record import Arrival, Limits
from connector.records.snowflake import first_id
from connector.task.converter import Converter
from connector.transforms.catalogue import CATALOGUE
from connector.transforms.chain import Chain
from connector.transforms.transformer import Transformer
from connector.transforms.values import write_json
from tests.unit.formats.lines import recorded
from tests.unit.formats.oracle import expected

NOON = 1_793_534_400_000  # 2026-11-01T12:00:00Z


def named(cls, **texts):
    kind = CATALOGUE.find(TRANSFORMS, cls)
    given = Given(texts={name.replace("_", "."): text for name, text in texts.items()}, environ={}, directory=Path("/"))
    return Chosen(alias=cls.lower(), kind=kind, options=draft(kind.model, kind.options.values(), given).model)


def shaped(line, *chosen, with_raw=False, max_bytes=1_000_000):
    """The record of *line*, after the transforms *chosen*."""
    form = PostForm(write_json, with_raw=with_raw)
    transformer = Transformer(Chain(chosen), connector="posts", topic="posts", labels=(), reserved=(), form=form)
    return transformer.record_of(int(json.loads(line)["data"]["id"]), line, 5, None, max_bytes)


@pytest.mark.parametrize("kind", recorded())
def test_each_recorded_kind_is_written(kind):
    """As JSON of the post; X's line stays with the record, for a dead letter and the console."""
    line = recorded()[kind]
    record = shaped(line)

    assert expected(json.loads(line)) == json.loads(record.value)
    assert (line, None, False) == (record.altered.line, record.altered.topic, record.altered.tombstone)
    assert str(json.loads(line)["data"]["id"]).encode() == record.key


def test_the_raw_line_on_request():
    """As a text in the post."""
    line = recorded()["retweet"]

    assert line.decode() == json.loads(shaped(line, with_raw=True).value)["raw"]
    assert "raw" not in json.loads(shaped(line).value)


def test_transforms_get_the_post():
    """Its fields are the outermost ones, which Connect's transforms see."""
    line = recorded()["reply_all_expansions_structure"]
    chain = named("ReplaceField$Value", include="id,author,lang"), named("ExtractField$Value", field="author")
    record = shaped(line, *chain, named("ReplaceField$Value", include="username"))

    assert {"username": "synthetic_user_00006"} == json.loads(record.value)


def test_too_large():
    """The record counts, not the line."""
    line = recorded()["retweet"]
    with pytest.raises(BadRecord, match=r"The connector makes of the post \d+ a record of \d+ bytes, the topic takes"):
        shaped(line, max_bytes=500)


@pytest.mark.parametrize("bad", [(), (b'{"data":{"id":7}}',)], ids=["all good", "with a bad line"])
def test_many_at_once_are_as_one_by_one(bad):
    """Lines that came together give the same values, and a bad one among them is buried alone, as X sent it."""
    lines = {json.loads(line)["data"]["id"]: line for line in recorded().values()}
    form = PostForm(write_json, with_raw=False)
    chain = Chain(())
    transformer = Transformer(chain, connector="posts", topic="posts", labels=(), reserved=(), form=form)
    converter = Converter(connector="posts", dead_letters=True, transformer=transformer, form=form)
    converter.limit(Limits(record_bytes=1_000_000, dead_letter_bytes=1_000_000))
    found = converter.convert([Arrival(lines=(*lines.values(), *bad), at=0.0, size=1)])
    records = found.records.done()

    assert [shaped(line).value for line in lines.values()] == list(records.values)
    assert list(lines.values()) == [records.line(place) for place in range(len(records))]
    assert list(bad) == [letter.value for letter in found.dead_letters]


def test_posts_that_are_too_large_are_not_held_together():
    """A body may have a thousand times as many bytes as its line: at the first such one each line goes alone."""
    written = []

    class Counting(PostForm):
        def body(self, line):
            written.append(line)
            return super().body(line)

    form = Counting(write_json, with_raw=True)
    transformer = Transformer(Chain(()), connector="posts", topic="posts", labels=(), reserved=(), form=form)
    converter = Converter(connector="posts", dead_letters=True, transformer=transformer, form=form)
    converter.limit(Limits(record_bytes=500, dead_letter_bytes=1_000))
    large = [b'{"data":{"id":"%d","text":"%b"}}' % (number, b"x" * 400) for number in (2, 3, 4)]
    found = converter.convert([Arrival(lines=(b'{"data":{"id":"1"}}', *large), at=0.0, size=1)])

    assert (b"1",) == found.records.done().keys
    assert large == [letter.value for letter in found.dead_letters]
    assert 2 == len(written)


@pytest.mark.parametrize("kind", recorded())
def test_fausts_channel_reads_it(kind):
    """The same `Post` as from the line, but for its text, which is whole in place of cut."""
    codec = get_codec(codec_name("json"))
    of_line = Post.from_data(codec.loads(recorded()[kind]))
    of_shape = Post.from_data(codec.loads(shaped(recorded()[kind]).value))

    assert of_line.asdict() | {"text": "", "note_text": None} == of_shape.asdict() | {"text": ""}
    assert post_of(recorded()[kind])["text"] == of_shape.full_text
    assert of_line.full_text == of_shape.full_text or of_line.full_text.startswith("RT @")


def test_tail_shows_it():
    """Author, text and rules, as of a line of X; and filters by rule."""
    line = json.loads(recorded()["reply_all_expansions_structure"])
    line["matching_rules"] = [{"id": "1", "tag": "posts/birds"}]
    of_line, of_shape = (
        Shown(b"1", value, NOON) for value in (json.dumps(line).encode(), shaped(json.dumps(line).encode()).value)
    )

    assert lines([of_line], as_json=False, colours=False) == lines([of_shape], as_json=False, colours=False)
    assert "[birds]  @synthetic_user_00006  @synthetic" in lines([of_shape], as_json=False, colours=False)
    assert of_shape.matches({"birds"})
    assert not of_shape.matches({"cats"})


@pytest.mark.parametrize(
    ("references", "text", "has_references", "counts"),
    [
        ([], "a starling", True, 1),
        ([{"type": "quoted", "id": "8"}], "a starling", True, 1),
        ([{"type": "retweeted", "id": "8"}], "a starling", True, 0),
        ([], "RT @synthetic_user_00001: a starling", False, 0),
    ],
)
def test_audit_counts_it(references, text, has_references, counts):
    """By the rules that it matched, without retweets."""
    post_id = str(first_id(NOON))
    data = {"id": post_id, "text": text, "referenced_tweets": references}
    line = json.dumps({"data": data, "matching_rules": [{"id": "11", "tag": "posts/birds"}]}).encode()
    with TopicTally([(NOON, ["11"])], NOON + 60_000, has_references=has_references) as tally:
        tally.add(post_id.encode(), shaped(line).value)

        assert [counts] == [sum(found.values()) for found in tally.found]
        assert 0 == tally.strange


def test_audit_tells_a_changed_post_from_a_whole_one():
    """What a transform has taken out of X's line has no rules: it is no post that could count."""
    post_id = str(first_id(NOON))
    with TopicTally([(NOON, ["11"])], NOON + 60_000, has_references=True) as tally:
        value = {"id": post_id, "text": "a starling", "created_at": "2026-11-01T12:00:00.000Z"}
        tally.add(post_id.encode(), json.dumps(value).encode())

        assert 1 == tally.strange
