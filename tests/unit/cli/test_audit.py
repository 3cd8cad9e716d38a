"""Comparing, the report, and what the command understands; X and Kafka are not needed."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from connector.cli.audit import command
from connector.cli.audit.command import Wrong, read_request
from connector.cli.audit.comparison import Hole, Minute, Report, Sums, Tally, TopicTally, compare, holes
from connector.config.load import load
from connector.coverage.offset import Coverage, Gap, GapState
from connector.records.snowflake import first_id

NOON = int(datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp() * 1000)
MINUTE = 60_000
NOW = NOON + 65 * MINUTE + 30_000


def minutes(*counts: int) -> dict[int, int]:
    return {NOON + number * MINUTE: count for number, count in enumerate(counts)}


def tally(counted: Mapping[int, int], found: Mapping[int, int], from_ms: int = NOON) -> Tally:
    return Tally(from_ms=from_ms, counted=counted, found=found)


def compared(*tallies: Tally, count: int = 3, known: tuple[Hole, ...] = ()) -> tuple[Minute, ...]:
    return compare(tallies, from_ms=NOON, to_ms=NOON + count * MINUTE, known=known)


def report(*tallies: Tally, threshold: str = "99", **more) -> Report:
    return Report(threshold=Decimal(threshold), minutes=compared(*tallies, **more))


# -- comparing


def test_each_minute_is_compared() -> None:
    """What X counts, what is there, and what is missing or more."""
    found = compared(tally(minutes(10, 20, 30), minutes(10, 15, 33)))

    assert [
        Sums(counted=10, found=10),
        Sums(counted=20, found=15, missing=5),
        Sums(counted=30, found=33, more=3),
    ] == [minute.sums for minute in found]
    assert [NOON, NOON + MINUTE, NOON + 2 * MINUTE] == [minute.at_ms for minute in found]


def test_more_in_one_minute_makes_up_for_nothing() -> None:
    """Ten missing and ten more is not complete, within a minute of two queries no more than over two minutes."""
    over_minutes = report(tally(minutes(50, 50), minutes(40, 60)))
    over_queries = report(tally(minutes(50), minutes(40)), tally(minutes(50), minutes(60)))

    for one in (over_minutes, over_queries):
        assert 10 == one.total.missing
        assert 90.0 == one.total.percent
        assert not one.complete


def test_a_minute_that_neither_side_knows_is_empty() -> None:
    """X and the topic leave it out; that is agreement."""
    assert Sums() == compared(tally({}, {}))[1].sums


def test_a_query_counts_from_its_begin() -> None:
    """Its rule is new; before it nothing is asked, and a minute of which nothing was asked is not in the report."""
    early = tally(minutes(0, 10, 10), minutes(0, 10, 10), NOON + MINUTE)
    late = tally(minutes(7, 7, 7), minutes(0, 0, 7), NOON + 2 * MINUTE)

    found = compared(early, late)

    assert [(NOON + MINUTE, 10, 0), (NOON + 2 * MINUTE, 17, 0)] == [
        (minute.at_ms, minute.sums.counted, minute.sums.missing) for minute in found
    ]


@pytest.mark.parametrize(
    ("counted", "missing", "threshold", "complete"),
    [
        (1000, 10, "99", True),
        (1000, 11, "99", False),
        (1000, 1, "99.9", True),
        (100_000, 1, "100", False),
        (1000, 0, "100", True),
        (0, 0, "100", True),  # all of nothing
        (1000, 1000, "0", True),
    ],
)
def test_the_threshold_is_exact(counted: int, missing: int, threshold: str, *, complete: bool) -> None:
    """Not a matter of rounding."""
    assert complete == Sums(counted=counted, missing=missing).reaches(Decimal(threshold))


def test_a_percentage_is_rounded_down() -> None:
    """100 is said where nothing is missing, and nowhere else."""
    assert 99.99 == Sums(counted=1_000_000, missing=1).percent
    assert 100.0 == Sums(counted=1_000_000).percent


# -- the topic's side


def line(post_id: int, *rules: str, text: str = "a post", references: tuple[str, ...] = ()) -> tuple[bytes, bytes]:
    data: dict[str, object] = {"id": str(post_id), "text": text}
    if references:
        data["referenced_tweets"] = [{"type": kind, "id": "1"} for kind in references]
    matched = [{"id": rule, "tag": ""} for rule in rules]
    return b"%d" % post_id, json.dumps({"data": data, "matching_rules": matched}).encode()


def tallied(*records: tuple[bytes | None, bytes | None], has_references: bool = True) -> TopicTally:
    """Tally 12:00 to 12:03 for a query of the rules 1 and 2, and one of the rule 3 that acts from 12:01 on."""
    queries = [(NOON, ["1", "2"]), (NOON + MINUTE, ["3"])]
    found = TopicTally(queries, NOON + 3 * MINUTE, has_references=has_references)
    for record in records:
        found.add(*record)
    return found


def test_a_post_counts_where_a_rule_of_its_is() -> None:
    """Once for each query, however many of its rules matched; never for rules that were left out."""
    at = first_id(NOON + MINUTE)
    found = tallied(line(at, "1", "2"), line(at + 1, "2", "3"), line(at + 2, "9"), line(at + 3), line(at + 4, "3", "9"))

    assert [{NOON + MINUTE: 2}, {NOON + MINUTE: 2}] == found.found


def test_a_post_counts_once() -> None:
    """At least once is not twice."""
    post = line(first_id(NOON), "1")

    assert {NOON: 1} == tallied(post, post).found[0]


def test_the_ids_time_counts() -> None:
    """To the millisecond, and from the query's begin on."""
    end = NOON + 3 * MINUTE
    ids = [first_id(NOON) - 1, first_id(NOON), first_id(NOON + MINUTE) - 1, first_id(end) - 1, first_id(end)]
    found = tallied(*(line(post_id, "1", "3") for post_id in ids))

    assert [{NOON: 2, NOON + 2 * MINUTE: 1}, {NOON + 2 * MINUTE: 1}] == found.found


@pytest.mark.parametrize(
    ("references", "text", "has_references", "counts"),
    [
        (("retweeted",), "RT @one: a post", True, False),
        (("quoted",), "a post", True, True),
        (("replied_to", "quoted"), "@one a post", True, True),
        ((), "RT @one: by hand", True, True),  # X would have named the original
        ((), "RT @one: a post", False, False),  # X was not asked for references
        ((), "a post", False, True),
    ],
)
def test_retweets_stay_out(references: tuple[str, ...], text: str, *, has_references: bool, counts: bool) -> None:
    """X does not count them either."""
    post = line(first_id(NOON), "1", text=text, references=references)

    assert ({NOON: 1} if counts else {}) == tallied(post, has_references=has_references).found[0]


def test_posts_that_parsers_refuse_are_counted() -> None:
    """Half of a surrogate pair and a thousand levels are in the topic as X sent them."""
    texts = [(rb"cut \ud83d", b"1"), (b"deep", b"[" * 1_500 + b"]" * 1_500), (b"large", b"1e999")]
    line = b'{"data":{"id":"1","text":"%b"},"matching_rules":[{"id":"1"}],"x":%b}'
    posts = [(b"%d" % (first_id(NOON) + number), line % each) for number, each in enumerate(texts)]
    found = tallied(*posts, (b"9" * 5_000, b"{}"))

    assert {NOON: 3} == found.found[0]
    assert 0 == found.strange


def test_what_is_no_post_is_told() -> None:
    """Tombstones and strange keys are nothing; a record of that time that is no line is said to be there."""
    key = b"%d" % first_id(NOON)
    found = tallied((None, b"{}"), (key, None), (b"key", b"{}"), (key, b"<html>"))

    assert [{}, {}] == found.found
    assert 1 == found.strange


# -- what is known to be missing

GAP = Gap(from_ms=NOON - 20_000, to_ms=NOON + 70_000, reason="connection_lost")


def coverage(*gaps: Gap, covered_to_ms: int = NOON + 9 * MINUTE) -> Coverage:
    return Coverage(covered_from_ms=NOON - MINUTE, covered_to_ms=covered_to_ms, gaps=gaps)


def known(found: Coverage, *closed: Gap) -> list[Hole]:
    return holes(found, closed, from_ms=NOON, to_ms=NOON + 5 * MINUTE)


def test_gaps_explain_what_is_missing() -> None:
    """Open, lost and accepted ones of this time alike, each with its state and its reason."""
    lost = Gap(
        from_ms=NOON + 2 * MINUTE,
        to_ms=NOON + 3 * MINUTE,
        reason="worker_down",
        state=GapState.LOST,
        detail="search forbidden",
    )
    accepted = Gap(from_ms=NOON + 4 * MINUTE, to_ms=NOON + 5 * MINUTE, reason="credit", state=GapState.ACCEPTED)
    earlier = Gap(from_ms=NOON - 9 * MINUTE, to_ms=NOON, reason="connection_lost", state=GapState.REPAIRED)

    assert [
        "inside the gap 2026-11-24T11:59:40Z to 2026-11-24T12:01:10Z (open: connection_lost)",
        "inside the gap 2026-11-24T12:02:00Z to 2026-11-24T12:03:00Z (lost: worker_down, search forbidden)",
        "inside the gap 2026-11-24T12:04:00Z to 2026-11-24T12:05:00Z (accepted: credit)",
    ] == [str(hole) for hole in known(coverage(GAP, lost), accepted, earlier)]


def test_what_is_not_covered_yet_is_said() -> None:
    """A connector that is down has a coverage that ends, and no gap before it connects again."""
    (hole,) = known(coverage(covered_to_ms=NOON + 3 * MINUTE))

    assert ("uncovered", NOON + 3 * MINUTE, NOON + 5 * MINUTE) == (hole.state, hole.from_ms, hole.to_ms)
    assert "2026-11-24T12:03:00Z" in str(hole)


def test_a_gap_beyond_the_coverage_is_said_once() -> None:
    """After a reconnect the gap reaches beyond `covered_to`: what lies in it is not uncovered as well."""
    gap, beyond = known(coverage(GAP, covered_to_ms=GAP.from_ms))

    assert (GAP.from_ms, GAP.to_ms, "open") == (gap.from_ms, gap.to_ms, gap.state)
    assert (GAP.to_ms, NOON + 5 * MINUTE, "uncovered") == (beyond.from_ms, beyond.to_ms, beyond.state)


def test_what_was_before_the_first_connect_is_said() -> None:
    """That is no gap."""
    (hole,) = known(Coverage(covered_from_ms=NOON + MINUTE, covered_to_ms=NOON + 9 * MINUTE))

    assert (NOON, NOON + MINUTE) == (hole.from_ms, hole.to_ms)
    assert "first connect" in str(hole)


def test_a_connector_that_never_connected_covers_nothing() -> None:
    """All is uncovered."""
    assert ["nothing is covered yet"] == [str(hole) for hole in known(Coverage())]


# -- the report


def test_a_report_for_people() -> None:
    """A line for each minute; those that differ have the reason; then the verdict, and the minutes by name."""
    found = report(
        tally(minutes(410, 412, 400, 0), minutes(410, 112, 403, 0)),
        count=4,
        known=tuple(known(coverage(Gap(from_ms=NOON + 50_000, to_ms=NOON + 2 * MINUTE, reason="connection_lost")))),
    )

    lines = list(found.lines())
    assert [
        "minute (UTC)              X     topic   complete",
        "2026-11-24T12:00Z       410       410   100.00 %",
        (
            "2026-11-24T12:01Z       412       112    27.18 %  300 missing: inside the gap 2026-11-24T12:00:50Z to"
            " 2026-11-24T12:02:00Z (open: connection_lost)"
        ),
        "2026-11-24T12:02Z       400       403   100.00 %  3 more than X counts",
        "2026-11-24T12:03Z         0         0          -",
        "in all                1,222       925    75.45 %",
        "",
        "INCOMPLETE: 75.45 % of the 1,222 posts that X counts are in the topic, and 99 % are asked for.",
        "300 are missing, in 2026-11-24T12:01Z.",
        "3 are more than X counts, in 2026-11-24T12:02Z.",
    ] == lines[:10]
    assert any("Retweets" in line for line in lines[10:])


def test_what_no_gap_explains_is_said() -> None:
    """That is the line which should worry an operator."""
    assert "5 missing: in no gap that is known" == compared(tally(minutes(9), minutes(4)))[0].remark


def test_minutes_that_follow_each_other_are_named_together() -> None:
    """A week has ten thousand."""
    found = report(tally(minutes(1, 1, 1, 1, 1, 1), minutes(0, 0, 0, 1, 0, 1)), count=6)

    assert "4 are missing, in 2026-11-24T12:00Z to 2026-11-24T12:02Z, 2026-11-24T12:04Z." in list(found.lines())


def test_a_report_for_machines() -> None:
    """The same as JSON."""
    found = report(tally(minutes(10, 20), minutes(10, 15)), count=2, known=tuple(known(coverage(GAP))))

    fields = json.loads(json.dumps(found.fields()))
    assert {"counted": 30, "found": 25, "missing": 5, "more": 0, "completeness": 83.33, "threshold": 99.0} == {
        name: fields[name] for name in ("counted", "found", "missing", "more", "completeness", "threshold")
    }
    assert not fields["complete"]
    assert [("2026-11-24T12:00:00.000Z", 0), ("2026-11-24T12:01:00.000Z", 5)] == [
        (minute["minute"], minute["missing"]) for minute in fields["minutes"]
    ]
    assert [
        {
            "from": "2026-11-24T11:59:40.000Z",
            "to": "2026-11-24T12:01:10.000Z",
            "state": "open",
            "reason": "connection_lost",
            "detail": "",
        }
    ] == fields["minutes"][1]["holes"]


# -- the command line


def request(from_: str | None = "2026-11-24T12:00Z", to: str | None = None, threshold: str = "99", **more):
    stream, value_format = more.get("stream", "filtered"), more.get("value_format", "json")
    return read_request(from_, to, threshold, now_ms=NOW, stream=stream, value_format=value_format)


@pytest.mark.parametrize(
    ("from_", "to", "begin", "end", "widened"),
    [
        ("2026-11-24T12:00Z", "2026-11-24T12:30:00Z", 0, 30, False),
        ("2026-11-24T12:00:59.999Z", "2026-11-24T12:29:00.001Z", 0, 30, True),  # outward
        ("2026-11-24T13:00+01:00", "2026-11-24T12:30Z", 0, 30, False),
        ("-1h", "-30m", 5, 36, True),
        ("-1h", None, 5, 64, True),  # 13:05:30 - 60 s is 13:04:30
        ("-3930s", None, 0, 64, False),
    ],
)
def test_reads_times(from_: str, to: str | None, begin: int, end: int, *, widened: bool) -> None:
    """Whole minutes; without an end, up to what X has counted for sure."""
    found = request(from_, to)

    assert (NOON + begin * MINUTE, NOON + end * MINUTE, widened) == (found.from_ms, found.to_ms, found.widened)


@pytest.mark.parametrize(("text", "percent"), [("99.5", "99.5"), ("100 %", "100"), ("0", "0")])
def test_reads_a_threshold(text: str, percent: str) -> None:
    """With or without its sign."""
    assert Decimal(percent) == request(threshold=text).threshold


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"from_": None}, ["--from is required"]),
        ({"from_": "noon"}, ["--from cannot be 'noon'"]),
        ({"from_": "2026-11-24T12:00"}, ["--from cannot be '2026-11-24T12:00': write a time with its zone"]),
        ({"from_": "-9999d"}, ["use 2026-11-17T13:07Z or later"]),
        ({"to": "2026-11-24T13:05Z"}, ["use 2026-11-24T13:04Z or earlier"]),
        ({"to": "2026-11-24T13:04:01Z"}, ["use 2026-11-24T13:04Z or earlier"]),  # whole minutes, outward
        ({"to": "2026-11-24T12:00Z"}, ["--from is 2026-11-24T12:00:00.000Z, which must lie before --to"]),
        ({"threshold": "101"}, ["--threshold cannot be '101'"]),
        ({"threshold": "NaN"}, ["--threshold cannot be 'NaN'"]),
        ({"threshold": "all"}, ["--threshold cannot be 'all'"]),
        ({"stream": "sample"}, ["CONNECTOR_STREAM is sample, which cannot be audited"]),
        ({"value_format": "avro"}, ["CONNECTOR_VALUE_FORMAT is avro, which cannot be audited"]),
        (
            {"from_": "x", "to": "y", "threshold": "z", "stream": "firehose"},
            ["--from cannot", "--to cannot", "--threshold cannot", "CONNECTOR_STREAM is firehose"],
        ),
    ],
)
def test_says_all_that_is_wrong(arguments: Mapping[str, str], said: list[str]) -> None:
    """One sentence each, which names the cure."""
    with pytest.raises(Wrong) as caught:
        request(**arguments)

    assert len(said) == len(caught.value.problems)
    for part, problem in zip(said, caught.value.problems, strict=True):
        assert part in problem


def test_the_earliest_time_is_one_that_x_takes() -> None:
    """Also after the question whether to spend the money was answered within a minute."""
    earliest = request("2026-11-17T13:07Z").from_ms

    assert 7 * 24 * 60 * MINUTE - 2 * MINUTE < NOW - earliest <= 7 * 24 * 60 * MINUTE - MINUTE


ENVIRONMENT = {"CONNECTOR_TOPIC": "posts", "CONNECTOR_HASHTAGS": "a", "CONNECTOR_X_BEARER_TOKEN": "AAAAsynthetic"}
VALUES = {"from_": "-1h", "to": None, "threshold": "99", "yes": False, "json_": False}


def test_wrong_arguments_are_told_on_standard_error(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2; nothing was asked of anybody."""
    loaded = load({**ENVIRONMENT, "CONNECTOR_STREAM": "sample", "CONNECTOR_HASHTAGS": ""}, tmp_path)

    assert 2 == command.run({**VALUES, "from_": None}, loaded)
    said = capsys.readouterr()
    assert "" == said.out
    assert 2 == len(said.err.splitlines())


def test_without_a_connector_there_is_nothing_to_audit(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a worker says it: what is missing, exit code 78."""
    with pytest.raises(SystemExit) as end:
        command.run(VALUES, load({}, tmp_path), ("CONNECTOR_TOPIC is required.",))

    assert 78 == end.value.code
    assert "CONNECTOR_TOPIC is required." in capsys.readouterr().err


def test_x_away_is_one_sentence(tmp_path, monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    """After some tries; exit code 69, which is not the one of incompleteness."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr("connector.sources.archive.counts.RETRY_SECS", 0.0)
    loaded = load({**ENVIRONMENT, "CONNECTOR_X_API_URL": "http://127.0.0.1:9"}, tmp_path)

    assert 69 == command.run(VALUES, loaded)
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("No audit: The connection to X")
    assert not any("Traceback" in sentence for sentence in said)
