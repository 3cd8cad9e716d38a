"""Flink SQL reads what the connector writes: the statements of the documents, as they stand there."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka.structs import ConsumerRecord
from confluent_kafka import Producer

from connector.simulator import SimulatorThread
from tests import topics
from tests.brokers import Broker
from tests.documents import blocks
from tests.e2e.test_sharing_workers import running
from tests.readers import flink
from tests.registries import Registry
from tests.workers import TOKEN, Worker, Workers, undeclared, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

MARK = "run in Flink: "
WRITTEN: dict[str, dict[str, str]] = {
    "envelope": {"value.shape": "envelope"},
    "post": {"value.shape": "post"},
    "connect": {"value.shape": "connect"},
    "avro": {"value.format": "avro"},
    "json_schema": {"value.format": "json_schema"},
}
"""What the documents have statements for; a connector each, all on one stream."""

WITHDRAWN = "withdrawn"
"""The statements that are for topics with tombstones, whose posts are those of `post`."""

LANGUAGES = ("en", "de", "ja")
AUTHORS = ("lena", "otto")


def create(worker: Worker, name: str, topic: str, url: str, registry: Registry) -> None:
    config = {
        "connector.class": "PostStreamSourceConnector",
        "topic": topic,
        "hashtags": "murmuration",
        "expansions": "author_id",
        "x.api.url": url,
        "x.bearer.token": "${env:CONNECTOR_SIMULATED_TOKEN}",
        **WRITTEN[name],
    }
    if "value.format" in config:
        config["schema.registry.url"] = registry.url
    status, body = worker.post("/connectors", {"name": name, "config": config})
    assert 201 == status, body


def end(broker: Broker, topic: str, gone: Sequence[str]) -> list[ConsumerRecord]:
    """Write tombstones for the posts *gone*, and a post in a transaction that is given up; return what was there."""
    records = topics.read(broker, topic)
    producer = Producer({"bootstrap.servers": broker.address, "transactional.id": topic})
    producer.init_transactions()
    producer.begin_transaction()
    for record in records:
        if record.key.decode() in gone:
            producer.produce(topic, key=record.key, value=None, partition=record.partition)
    producer.commit_transaction()
    producer.begin_transaction()
    producer.produce(topic, key=b"never", value=records[0].value, partition=0)
    producer.flush()
    producer.abort_transaction()
    return records


def read_by_flink(places: Mapping[str, Mapping[str, str]], folder: Path) -> dict[str, list[flink.Rows]]:
    """Run the statements of the documents, with *places* for theirs; return the rows of the two queries of each."""
    scripts = {block.mark.removeprefix(MARK): block.text for block in blocks(["sql"])}
    assert places.keys() == scripts.keys()
    for mark, changes in places.items():
        for theirs, ours in changes.items():
            assert theirs in scripts[mark], mark
            scripts[mark] = scripts[mark].replace(theirs, ours)
    rows = flink.queries(list(scripts.values()), folder)
    assert 2 * len(scripts) == len(rows)
    return {mark: rows[2 * at : 2 * at + 2] for at, mark in enumerate(scripts)}


def expected(posts: Sequence[dict[str, Any]]) -> tuple[Counter[str], list[list[Any]]]:
    """Return what the two queries are to say of *posts*: how many by language, and each with four of its fields."""
    columns = [[post["id"], post["created_at"], post["author"]["username"], post["text"]] for post in posts]
    return Counter(post["lang"] for post in posts), sorted(columns)


def said(queries: Sequence[flink.Rows]) -> tuple[Counter[str], list[list[Any]]]:
    """Return what they do say, with times in UNIX ms."""
    counted, listed = queries
    columns = [
        [key, round(datetime.fromisoformat(made).replace(tzinfo=UTC).timestamp() * 1000), username, text]
        for key, made, username, text in listed
    ]
    return Counter({lang: count for lang, count in counted}), sorted(columns)  # noqa: C416  # rows are lists


def test_the_statements_of_the_documents(
    broker: Broker,
    registry: Registry,
    simulate: Callable[..., SimulatorThread],
    workers: Workers,
    fresh: str,
    tmp_path: Path,
) -> None:
    """Each gets the posts that were committed, field by field; only the table by key forgets what is withdrawn."""
    flink.require()
    simulator = simulate()
    worker = workers.start(undeclared(broker, fresh) | {"CONNECTOR_SIMULATED_TOKEN": TOKEN}).wait_ready()
    for name in WRITTEN:
        create(worker, name, f"{fresh}-{name}", simulator.url, registry)
    worker.wait_event("stream.connected")
    for name in WRITTEN:
        wait_for(lambda name=name: running(worker, name), f"{name} runs")
    texts = {}
    for number in range(30):
        text = f'"a starling" {number} \N{BIRD} 東 \\ #murmuration'
        chosen = {"lang": LANGUAGES[number % 3], "author": AUTHORS[number % 2]}
        texts[simulator.emit_post(text, **chosen)] = text
    for name in WRITTEN:
        wait_for(lambda name=name: worker.delivered(name) == len(texts), f"the posts of {name}")
    assert 0 == worker.stop()
    gone = sorted(texts)[::4]
    written = {name: end(broker, f"{fresh}-{name}", gone) for name in WRITTEN}

    posts = [orjson.loads(record.value) for record in written["post"]]
    assert texts == {post["id"]: post["text"] for post in posts}
    places: dict[str, dict[str, str]] = {
        mark: {"localhost:9092": broker.address, "'topic' = 'posts'": f"'topic' = '{fresh}-{mark}'"}
        for mark in (*WRITTEN, WITHDRAWN)
    }
    places[WITHDRAWN]["'topic' = 'posts'"] = f"'topic' = '{fresh}-post'"
    places["avro"]["http://127.0.0.1:8081"] = registry.url
    found = read_by_flink(places, tmp_path)
    for name in WRITTEN:
        assert expected(posts) == said(found[name]), name
    assert expected([post for post in posts if post["id"] not in gone]) == said(found[WITHDRAWN])
