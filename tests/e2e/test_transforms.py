"""Transforms at work in a whole worker: topics by rule, dropped posts, dead letters, each post once."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from connector.simulator import SimulatorThread
from tests import ROOT, topics
from tests.brokers import Broker
from tests.topics import created_ms
from tests.workers import TOKEN, Workers, environment, undeclared, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

CHAIN = {
    "hashtags": "murmuration,kafka",
    "transforms": "byrule,take,drop,key,text,hide,day",
    "transforms_byrule_type": "RuleRouter",
    "transforms_byrule_topic_format": "${topic}.${rule}",
    "transforms_take_type": "org.apache.kafka.connect.transforms.ExtractField$Value",
    "transforms_take_field": "data",
    "transforms_drop_type": "Filter",
    "transforms_drop_predicate": "kafkas",
    "transforms_drop_negate": "true",
    "transforms_key_type": "ValueToKey",
    "transforms_key_fields": "author_id",
    "transforms_text_type": "ExtractField$Key",
    "transforms_text_field": "author_id",
    "transforms_hide_type": "MaskField$Value",
    "transforms_hide_fields": "lang",
    "transforms_hide_replacement": "xx",
    "transforms_day_type": "RegexRouter",
    "transforms_day_regex": r"(.*)\.(.*)",
    "transforms_day_replacement": "$2.of.$1",
    "predicates": "kafkas",
    "predicates_kafkas_type": "org.apache.kafka.connect.transforms.predicates.TopicNameMatches",
    "predicates_kafkas_pattern": r".*\.kafka",
}


def test_a_chain(broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str) -> None:
    """Routed by rule and by pattern, dropped by predicate, with keys and values of their own; each once over a kill."""
    simulator = simulate()
    settings = environment(broker, simulator.url, fresh, **CHAIN)
    worker = workers.start(settings).wait_ready()
    kept = [simulator.emit_post(f"a starling {number} #kafka", author="77") for number in range(30)]
    dropped = [simulator.emit_post(f"no starling {number} #murmuration") for number in range(20)]
    both = [simulator.emit_post("#kafka and #murmuration", lang="de")]
    worker.wait_delivered(len(kept))
    worker.kill()
    second = workers.start(settings).wait_ready()
    kept += [simulator.emit_post(f"more {number} #kafka") for number in range(20)]
    second.wait_delivered(len(kept))
    status, metrics = second.get("/metrics")
    assert 0 == second.stop()

    topic = f"kafka.of.{fresh}"
    records = topics.read(broker, topic)
    values = [orjson.loads(record.value) for record in records]
    assert sorted(kept) == sorted(value["id"] for value in values)
    assert {"xx"} == {value["lang"] for value in values}
    assert all(record.key.decode() == value["author_id"] for record, value in zip(records, values, strict=True))
    assert not {value["id"] for value in values} & {*dropped, *both}  # the first rule of the configuration decides
    assert [] == topics.read(broker, fresh)
    offset = topics.offsets(broker, fresh)['["posts",{"stream":"filtered"}]']
    assert len(kept) == offset["posts"]
    assert 200 == status
    assert 3 == len({record.partition for record in records}) or len({record.key for record in records}) < 3
    assert "connector_posts_dropped_total" in str(metrics)


def test_dead_letters(broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str) -> None:
    """A line that a transform cannot take is kept aside as X sent it, with the transform's name; the others go on."""
    simulator = simulate()
    chain = {
        "transforms": "take,at",
        "transforms_take_type": "ExtractField$Value",
        "transforms_take_field": "data",
        "transforms_at_type": "TimestampConverter$Value",
        "transforms_at_field": "text",
        "transforms_at_target_type": "unix",
        "transforms_at_format": "yyyy-MM-dd",
        "errors_tolerance": "all",
        "dead_letter_topic": f"{fresh}-dead",
    }
    worker = workers.start(environment(broker, simulator.url, fresh, **chain)).wait_ready()
    good = simulator.emit_post("2026-11-01 #murmuration")
    bad = simulator.emit_post("tomorrow #murmuration")
    worker.wait_delivered(1)
    wait_for(lambda: topics.size(broker, f"{fresh}-dead"), "a dead letter")
    assert 0 == worker.stop()

    (record,) = topics.read(broker, fresh)
    (letter,) = topics.read(broker, f"{fresh}-dead")
    headers = dict(letter.headers)
    assert (good, 1_793_491_200_000) == (orjson.loads(record.value)["id"], orjson.loads(record.value)["text"])
    assert bad == orjson.loads(letter.value)["data"]["id"]
    assert (b"at", b"TransformFailed") == (headers["transform"], headers["error.class"])
    assert (
        f"The transform at (TimestampConverter$Value) cannot take the post {bad}" in headers["error.message"].decode()
    )


def test_an_error_fails_the_task(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """Without tolerance: FAILED, with a sentence that names transform and post."""
    simulator = simulate()
    chain = {
        "transforms": "hide",
        "transforms_hide_type": "MaskField$Value",
        "transforms_hide_fields": "data",
        "transforms_hide_replacement": "x",
    }
    worker = workers.start(environment(broker, simulator.url, fresh, **chain)).wait_ready()
    post = simulator.emit_post("#murmuration")
    failed = worker.wait_event("task.failed")

    assert failed["reason"].startswith(
        f"The transform hide (MaskField$Value) cannot take the post {post}: it cannot put"
    )


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """Install the example package of the documentation into a folder, and return the folder."""
    source, target = tmp_path / "source", tmp_path / "installed"
    shutil.copytree(ROOT / "docs" / "transforms" / "example", source)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, source]
    subprocess.run(command, check=True, timeout=200)  # noqa: S603  # ours
    return target


def test_a_transform_of_ones_own(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str, example: Path
) -> None:
    """The example package, installed as its page says, drops short posts and counts the words of the others."""
    simulator = simulate()
    chain = {"transforms": "count", "transforms_count_type": "words", "transforms_count_least": "3"}
    settings = environment(broker, simulator.url, fresh, **chain)
    worker = workers.start(settings, through=("env", f"PYTHONPATH={example}")).wait_ready()
    simulator.emit_post("short #murmuration")
    kept = simulator.emit_post("a starling flies #murmuration")
    worker.wait_delivered(1)
    assert 0 == worker.stop()

    (record,) = topics.read(broker, fresh)
    post = orjson.loads(record.value)["data"]
    assert (kept, 4, [("words", b"4")]) == (post["id"], post["words"], list(record.headers))


def test_a_package_that_is_not_installed(broker: Broker, workers: Workers, fresh: str) -> None:
    """One clear sentence, before anything starts."""
    chain = {"transforms": "count", "transforms_count_type": "words"}
    worker = workers.start(environment(broker, "http://127.0.0.1:9", fresh, **chain))

    assert 78 == worker.wait()
    assert (
        "CONNECTOR_TRANSFORMS_COUNT_TYPE cannot be 'words', which is no transform of this worker: see"
        " docs/transforms.md for those there are."
    ) in worker.log + worker.out


def test_by_rest(broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str) -> None:
    """A connector that comes by REST has transforms as one that an environment declares."""
    simulator = simulate()
    worker = workers.start(undeclared(broker, fresh), config_plaintext_secrets="true").wait_ready()
    config = {
        "connector.class": "PostStreamSourceConnector",
        "topic": fresh,
        "hashtags": "murmuration",
        "x.bearer.token": TOKEN,
        "x.api.url": simulator.url,
        "settle.secs": "2",
        "transforms": "route,flat",
        "transforms.route.type": "org.apache.kafka.connect.transforms.TimestampRouter",
        "transforms.route.timestamp.format": "yyyy",
        "transforms.flat.type": "org.apache.kafka.connect.transforms.Flatten$Value",
    }
    wrong = config | {"transforms.flat.type": "Flaten$Value"}
    refused, body = worker.post("/connectors", {"name": "birds", "config": wrong})
    created, _ = worker.post("/connectors", {"name": "birds", "config": config})
    wait_for(lambda: worker.events("stream.connected"), "the stream")
    post = simulator.emit_post("a starling #murmuration")
    wait_for(lambda: worker.delivered("birds"), "a delivered post")
    assert 0 == worker.stop()

    assert (400, 201) == (refused, created)
    assert "did you mean Flatten$Value?" in body["message"]
    year = datetime.fromtimestamp(created_ms(post) / 1000, UTC).year
    (record,) = topics.read(broker, f"{fresh}-{year}")
    assert post == orjson.loads(record.value)["data.id"]
