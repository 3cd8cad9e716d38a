"""
Writes the past of a worker into the topics of its group: a week of coverage with gaps, and a week of history.

    python -m benchmarks.past BROKER GROUP FOLDER

It is a process of its own, as it loads the connector; *folder* has no settings in it.
"""

import sys
import time
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks.page import GAPS, PACED_RATE, RULES
from connector.config.load import load
from connector.coverage.offset import Coverage, Gap, GapState
from connector.history.records import (
    LASTING,
    MINUTE_SECS,
    MINUTES,
    TEN_MINUTES_SECS,
    Counts,
    Minute,
    TenMinutes,
    encode,
)
from connector.kafka.gate.preparation import topics_of
from connector.kafka.state.offsets import encode_key

RULES_A_MINUTE, RULES_A_TEN = 100, 300
"""So many rules have posts in a minute of the history, and in ten; others do in the next."""

WEEK_SECS, DAY_SECS, GAP_SECS = 7 * 86_400, 86_400, 120


def main(broker: str, group: str, folder: str) -> None:
    """Make the topics of *group* at *broker*, and write a week of coverage and of history into them."""
    environ = {"CONNECTOR_GROUP_ID": group, "CONNECTOR_BROKER_URL": f"kafka://{broker}"}
    settings = load(environ, Path(folder)).worker
    names = settings.names
    kept = {names.offsets, names.history}
    topics = [
        NewTopic(spec.name, spec.partitions, 1, config=dict(spec.settings))
        for spec in topics_of(settings, None)
        if spec.name in kept
    ]
    admin = AdminClient({"bootstrap.servers": broker})
    for made in admin.create_topics(topics).values():
        made.result()
    producer = Producer({"bootstrap.servers": broker, "linger.ms": 20, "message.max.bytes": 1_000_000})
    now = int(time.time())
    producer.produce(names.offsets, _coverage(now).encode(), encode_key("posts", {"stream": "filtered"}), partition=0)
    for number, begin in enumerate(range(now - WEEK_SECS, now - TEN_MINUTES_SECS, TEN_MINUTES_SECS)):
        at = begin - begin % TEN_MINUTES_SECS
        counts = _counts(number * RULES_A_TEN, RULES_A_TEN, 10)
        ten = TenMinutes(process="p", at=at, minutes=10, connectors={"posts": counts})
        producer.produce(names.history, encode(ten), b"ten", partition=LASTING, timestamp=at * 1000)
        producer.poll(0)
    for number, begin in enumerate(range(now - DAY_SECS, now - MINUTE_SECS, MINUTE_SECS)):
        at = begin - begin % MINUTE_SECS
        counts = _counts(number * RULES_A_MINUTE, RULES_A_MINUTE, 1)
        minute = Minute(process="p", number=number, at=at, worker="w:1", connectors={"posts": counts})
        producer.produce(names.history, encode(minute), b"minute", partition=MINUTES, timestamp=at * 1000)
        producer.poll(0)
    if left := producer.flush(30):
        raise SystemExit(f"Kafka has not confirmed {left} records of the history")


def _coverage(now: int) -> Coverage:
    """Return a week of coverage that ended some minutes ago, with gaps that nobody has accepted."""
    begin, step = now - WEEK_SECS, WEEK_SECS // (GAPS + 1)
    gaps = tuple(
        Gap(
            from_ms=(begin + step * number) * 1000,
            to_ms=(begin + step * number + GAP_SECS) * 1000,
            reason="budget",
            state=GapState.LOST,
            detail="the budget was spent",
        )
        for number in range(1, GAPS + 1)
    )
    return Coverage(
        covered_from_ms=begin * 1000, covered_to_ms=(now - GAP_SECS) * 1000, gaps=gaps, posts=WEEK_SECS * PACED_RATE
    )


def _counts(first: int, rules_: int, minutes: int) -> Counts:
    labels = ["cats", *(f"t{number}" for number in range(1, RULES))]
    posts = PACED_RATE * MINUTE_SECS * minutes
    return Counts(
        received=posts,
        delivered=posts,
        mills=posts * 5,
        timed=posts,
        age=(1500, 4000),
        delivery=(30, 60),
        rules={labels[(first + each) % RULES]: (posts // rules_ + each, each) for each in range(rules_)},
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
