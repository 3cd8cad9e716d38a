import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.errors import BadRecord, TransformFailed
from connector.records.post import MAX_ID, head_of
from connector.records.record import Altered, Converted, Limits, SourceRecord
from connector.task.converter import Converter
from tests.unit.fakes import MADE_MS, NoRules, arrival, id_of, key_of, post, shared_post

BAD = b'{"errors":[{"title":"oops"}]}'


@pytest.fixture
def tolerant():
    converter = Converter(connector="posts", dead_letters=True)
    converter.limit(Limits(record_bytes=1_000, dead_letter_bytes=1_000))
    return converter


@pytest.fixture
def strict():
    converter = Converter(connector="posts", dead_letters=False)
    converter.limit(Limits(record_bytes=1_000))
    return converter


def convert(converter, *arrivals, **asked):
    """What *arrivals* become, one after the other."""
    result = Converted()
    for each in arrivals:
        part = converter.convert((each,), **asked)
        result.records += part.records
        result.ids += part.ids
        result.filtered += part.filtered
        result.again += part.again
        result.dead_letters += part.dead_letters
        result.waits += part.waits
        result.dropped += part.dropped
        result.newest_id = max(result.newest_id, part.newest_id)
        result.error = part.error
        if result.error is not None:
            break
    return result


def test_line_becomes_a_record(strict):
    """Key is the post's id, value X's line byte for byte, timestamp the creation time."""
    line = b' {"includes":{}, "data" : {"text":"\\u00e9 \xf0\x9f\x90\xa6","id":"%d"}} ' % id_of(1)
    result = convert(strict, arrival(line))

    assert [SourceRecord(key_of(1), line, MADE_MS + 1)] == list(result.records)
    assert result.error is None


def test_waits_tell_of_each_arrival_with_posts(strict):
    """For each arrival that brought posts: when it came, when a post of it was made, how many."""
    result = convert(strict, arrival(post(1), post(2), at=5.0), arrival(at=6.0), arrival(post(1), at=7.0))

    assert [(5.0, (MADE_MS + 2) / 1000, 2)] == result.waits
    assert [id_of(1)] == result.again


def test_duplicates_within_and_across_calls(strict):
    """A post is let through once, in whatever arrival it comes again."""
    first = convert(strict, arrival(post(1), post(1)), arrival(post(1), post(2)))
    second = convert(strict, arrival(post(2), post(3)))

    assert [post(1), post(2)] == [record.value for record in first.records]
    assert [post(3)] == [record.value for record in second.records]
    assert ([id_of(1), id_of(2)], [id_of(3)]) == (first.ids, second.ids)
    assert ([id_of(1), id_of(1)], [id_of(2)]) == (first.again, second.again)


def test_newest_of_the_last_arrival(strict):
    """How far X has come is told by the largest id of an arrival, delivered before or not; by none for a keep-alive."""
    assert id_of(9) == strict.convert((arrival(post(2), post(9)),)).newest_id
    assert id_of(9) == strict.convert((arrival(post(9), post(3)),)).newest_id
    assert 0 == strict.convert((arrival(),)).newest_id


def test_repaired_posts_are_marked(strict):
    """What a repair found has its way as `source`, and says nothing about delays."""
    result = convert(strict, arrival(post(1), post(2)), source=b"search")

    assert [SourceRecord(key_of(n), post(n), MADE_MS + n, b"search") for n in (1, 2)] == list(result.records)
    assert [] == result.waits


def test_only_what_is_older_than_the_connection_is_marked(strict):
    """While a connection repeats the past, what is new on it is live."""
    result = convert(strict, arrival(post(1), post(2), at=5.0), source=b"backfill", until_id=id_of(2))

    assert [b"backfill", None] == [record.source for record in result.records]
    assert [(5.0, (MADE_MS + 2) / 1000, 2)] == result.waits


def test_strict_stops_at_the_bad_line(strict):
    """Without tolerance nothing behind a bad line is converted, and the error says what it is."""
    result = convert(strict, arrival(post(1), BAD, post(2)), arrival(post(3)))

    assert [post(1)] == [record.value for record in result.records]
    assert str(result.error).startswith(f"A line of {len(BAD)} bytes is no post")
    assert [] == result.dead_letters


def test_tolerant_goes_on(tolerant):
    """With tolerance a bad line is set aside as it is, and its neighbours are records."""
    result = convert(tolerant, arrival(post(1), BAD, post(2), at=1_793_536_496.789))

    (letter,) = result.dead_letters
    headers = dict(letter.headers)
    assert [post(1), post(2)] == [record.value for record in result.records]
    assert BAD == letter.value
    assert b"BadRecord" == headers["error.class"]
    assert headers["error.message"].decode().startswith(f"A line of {len(BAD)} bytes is no post")
    assert b"posts" == headers["connector"]
    assert b"2026-11-01T12:34:56.78" == headers["received_at"][:22]
    assert [("BadRecord", headers["error.message"].decode(), len(BAD))] == result.dropped


def test_too_large_post_is_a_bad_record(tolerant):
    """A post that the topic refuses is set aside with both sizes, and a repetition of it is no duplicate."""
    limit = len(key_of(1)) + len(post(1)) - 1
    tolerant.limit(Limits(record_bytes=limit, dead_letter_bytes=1_000))
    result = convert(tolerant, arrival(post(1), post(1)))

    assert 2 == len(result.dead_letters)
    assert (
        f"The post {id_of(1)} has {len(post(1))} bytes, the topic takes {limit}: "
        "raise max.message.bytes of the topic" == result.dropped[0][1]
    )


def test_post_of_just_the_size(strict):
    """Key and value together may be as large as the topic takes."""
    strict.limit(Limits(record_bytes=len(key_of(1)) + len(post(1))))

    assert 1 == len(convert(strict, arrival(post(1))).records)


def test_dead_letter_is_cut_to_its_topic(tolerant):
    """What even the dead letter topic does not take is cut, and a header says how long it was."""
    tolerant.limit(Limits(record_bytes=1_000, dead_letter_bytes=10))
    (letter,) = convert(tolerant, arrival(BAD)).dead_letters

    assert BAD[:10] == letter.value
    assert str(len(BAD)).encode() == dict(letter.headers)["value.bytes"]


def test_error_message_in_a_header_is_bounded(tolerant):
    """A header is never as long as what X may send."""
    (letter,) = convert(tolerant, arrival(b'{"data":{"id":"%s"}}' % (b"9" * 900))).dead_letters

    assert len(dict(letter.headers)["error.message"]) <= 4_000


NO_POSTS = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b'{"data":null}',
    b'{"data":[]}',
    b'{"data":{}}',
    b'{"data":{"id":7}}',
    b'{"data":{"id":null}}',
    b'{"data":{"id":""}}',
    b'{"data":{"id":"abc"}}',
    b'{"data":{"id":"-1"}}',
    b'{"data":{"id":"+1"}}',
    b'{"data":{"id":"1_0"}}',
    b'{"data":{"id":" 1"}}',
    b'{"data":{"id":"0"}}',
    '{"data":{"id":"١٢"}}'.encode(),
    b'{"data":{"id":"' + b"9" * 5000 + b'"}}',
    b'{"data":{"id":"9223372036854775808"}}',
    b'{"data":{"id":"1"}',
    b'{"data":{"id":"1"}} {"data":{"id":"2"}}',
    b'{"data":{"id":"1"},"x":nope}',
    b'{"data":{"id":"\xff"}}',
    b"Service Unavailable",
    b"\x00",
]


@pytest.mark.parametrize("line", NO_POSTS)
def test_what_is_no_post(line):
    """A line without a proper id, or that is not JSON from end to end, is a bad record."""
    with pytest.raises(BadRecord, match=f"A line of {len(line)} bytes"):
        head_of(line)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.integers(1, MAX_ID), st.dictionaries(st.text(max_size=5), JSON, max_size=3), JSON, st.booleans())
def test_id_is_found_in_whatever_stands_around_it(post_id, around, extra, escaped):
    """X may add fields of any kind, in any order."""
    fields = {key: value for key, value in around.items() if key != "id"}
    line = {"aside": extra, "data": {**fields, "id": str(post_id)}, "zz": around}

    assert post_id == head_of(
        json.dumps(line, ensure_ascii=escaped).encode("utf-8", "surrogatepass" if escaped else "replace")
    )


@given(st.binary(max_size=60))
def test_garbage_never_ends_the_converter(line):
    """Whatever comes is a record or a dead letter."""
    converter = Converter(connector="posts", dead_letters=True)
    converter.limit(Limits(record_bytes=1_000, dead_letter_bytes=1_000))
    result = convert(converter, arrival(line))

    assert 1 == len(result.records) + len(result.dead_letters)


@given(st.lists(st.lists(st.integers(0, 15), max_size=5), max_size=10))
def test_each_id_once_in_order_of_first_arrival(batches):
    """However posts repeat, each goes through once, where it came first."""
    converter = Converter(connector="posts", dead_letters=False)
    converter.limit(Limits(record_bytes=1_000))
    flat = [number for batch in batches for number in batch]
    records, duplicates = [], 0
    for batch in batches:
        result = convert(converter, arrival(*map(post, batch)))
        records += result.records
        duplicates += len(result.again)

    assert [post(number) for number in dict.fromkeys(flat)] == [record.value for record in records]
    assert len(flat) - len(records) == duplicates


ODD = [
    b'{"data":{}}',
    b"no JSON",
    b'{"data":{"id":"12 "}}',
    b'{"data":{"id":"1_2"}}',
    b'{"data":{"id":"+12"}}',
    b'{"data":{"id":""}}',
    b'{"data":{"id":"0"}}',
    b'{"data":{"id":"9223372036854775808"}}',
    b'{"data":{"id":"00000000000000000000012"}}',
    b'{"data":{"id":"12","text":"\xff"}}',
    '{"data":{"id":"\u0661\u0662","text":"digits, but not ours"}}'.encode(),
    '{"data":{"id":"13","text":"na\u00efve"}}'.encode(),
    b'{"data":{"id":"14","text":"' + b"x" * 200 + b'"}}',
]
LINES = st.lists(st.integers(0, 9).map(post) | st.sampled_from(ODD), max_size=6)


@given(st.lists(LINES, max_size=6), st.booleans(), st.sampled_from([None, b"search"]))
def test_several_arrivals_are_as_one_after_the_other(groups, tolerant, source):
    """Arrivals that are converted together become what they become by themselves; the newest id is that of all."""
    together, apart = (Converter(connector="posts", dead_letters=tolerant) for _ in range(2))
    for converter in (together, apart):
        converter.limit(Limits(record_bytes=150, dead_letter_bytes=150))
    arrivals = [arrival(*lines, at=float(number)) for number, lines in enumerate(groups)]
    one = together.convert(arrivals, source=source)
    other = convert(apart, *arrivals, source=source)

    assert str(one.error) == str(other.error)
    one.error = other.error = None
    assert one == other
    assert sorted(together.ledger._young) == sorted(apart.ledger._young)


@given(st.lists(LINES, max_size=6), st.booleans(), st.sampled_from([None, b"search"]))
def test_at_once_is_as_one_by_one(arrivals, tolerant, source):
    """Posts of an arrival are converted together where all are new and proper; what comes out is the same."""
    quick, slow = (Converter(connector="posts", dead_letters=tolerant) for _ in range(2))
    slow._convert_at_once = lambda *_: False
    results = []
    for converter in (quick, slow):
        converter.limit(Limits(record_bytes=150, dead_letter_bytes=150))
        results.append(convert(converter, *(arrival(*lines, at=1.0) for lines in arrivals), source=source))

    one, other = results
    assert str(one.error) == str(other.error)
    one.error = other.error = None
    assert one == other
    assert sorted(quick.ledger._young) == sorted(slow.ledger._young)


class Odd(NoRules):
    """Drops posts with an even number, cannot take those that are divisible by 5, routes the others."""

    def record_of(self, post_id, line, made_ms, source, max_bytes):
        number = made_ms - MADE_MS
        if number % 5 == 0:
            raise TransformFailed(f"The transform odd cannot take the post {post_id}", transform="odd")
        if number % 2 == 0:
            return None
        return SourceRecord(b"k", b"v", made_ms, source, Altered(post_id, topic="odd", line=line))


@pytest.fixture
def transforming():
    converter = Converter(connector="posts", dead_letters=True, transformer=Odd())
    converter.limit(Limits(record_bytes=1_000, dead_letter_bytes=1_000))
    return converter


def test_posts_that_transforms_drop_are_delivered_once_too(transforming):
    """Their ids go to the ledger, and count for how far X has come; there is no record of them."""
    result = convert(transforming, arrival(post(1), post(2), post(4), at=5.0))

    assert [id_of(1)] == [record.altered.post_id for record in result.records]
    assert ([id_of(1), id_of(2), id_of(4)], 2) == (result.ids, result.filtered)
    assert id_of(4) == result.newest_id
    assert [1] == [posts for _, _, posts in result.waits]
    assert [id_of(2)] == convert(transforming, arrival(post(2))).again


def test_a_post_that_a_transform_cannot_take_is_kept_aside(transforming):
    """As X sent it, with the transform's alias beside the headers of every dead letter; the others go on."""
    result = convert(transforming, arrival(post(5), post(1)))
    letter = result.dead_letters[0]

    assert (post(5), 1, [id_of(1)]) == (letter.value, len(result.records), result.ids)
    assert b"odd" == dict(letter.headers)["transform"]
    assert b"TransformFailed" == dict(letter.headers)["error.class"]


def test_a_post_that_a_transform_cannot_take_ends_the_task():
    """Without tolerance: what came before it is delivered, and nothing behind it is taken."""
    converter = Converter(connector="posts", dead_letters=False, transformer=Odd())
    converter.limit(Limits(record_bytes=1_000))
    result = convert(converter, arrival(post(1), post(5), post(7)))

    assert ([id_of(1)], "The transform odd") == (result.ids, str(result.error)[:17])


def test_a_repair_of_posts_keeps_their_source(transforming):
    """Also through transforms."""
    assert [b"search"] == [
        record.source for record in convert(transforming, arrival(post(1)), source=b"search").records
    ]


def counting(**given_):
    converter = Converter(connector="posts", has_rules=True, **{"dead_letters": True, **given_})
    converter.limit(Limits(record_bytes=1_000, dead_letter_bytes=1_000))
    converter.know_rules({"7": "birds", "8": "flocks"})
    return converter


def test_posts_by_the_rules_that_they_matched():
    """Each new post counts under all of its connector's rules together, and is asked for once."""
    converter = counting()
    convert(
        converter,
        arrival(shared_post(1, "8", "7"), shared_post(2, "7"), shared_post(3, "7", "8"), shared_post(4, "99")),
        arrival(shared_post(5, "7", "99"), post(6)),
    )

    assert {("birds", "flocks"): 2, ("birds",): 2, (): 2} == converter.take_matched()
    assert {} == converter.take_matched()


def test_a_rule_that_is_not_known_yet_is_known_by_its_tag():
    """Another worker may have made a rule again a moment ago, with another id."""
    converter = counting()
    convert(converter, arrival(shared_post(1, ("99", "posts/birds")), shared_post(2, ("99", "postscript/birds"))))

    assert {("birds",): 1, (): 1} == converter.take_matched()


def test_what_is_no_new_post_matches_nothing():
    """Duplicates and bad lines are not counted, and what comes with them is."""
    converter = counting()
    convert(converter, arrival(shared_post(1, "7"), BAD, shared_post(1, "7"), shared_post(2, "8")))

    assert {("birds",): 1, ("flocks",): 1} == converter.take_matched()


def test_repaired_posts_match_rules_too():
    """A repair brings posts of rules like the stream, and so does a connection that repeats the past."""
    converter = counting()
    convert(converter, arrival(shared_post(1, "7")), source=b"search")
    convert(converter, arrival(shared_post(2, "7")), source=b"backfill", until_id=id_of(9))

    assert {("birds",): 2} == converter.take_matched()


def test_a_stream_without_rules_is_not_counted(strict):
    """Nobody looks at the end of its lines."""
    convert(strict, arrival(shared_post(1, "7")))

    assert {} == strict.take_matched()
