"""One worker, from a stream over real HTTP into real Kafka."""

import asyncio
import os
import re
from collections.abc import Callable

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from connector.coverage.ledger import decode_ids
from connector.simulator import SimulatorThread
from tests import topics
from tests.brokers import Broker
from tests.topics import created_ms
from tests.unit.fakes import fill
from tests.workers import TOKEN, Worker, Workers, all_delivered, environment, seconds_between, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


def test_posts_arrive(broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str) -> None:
    """A post is in the topic once: its id as the key, its creation as the time, the line as X sent it as the value."""
    simulator = simulate()
    worker = workers.start(environment(broker, simulator.url, fresh)).wait_ready()
    sent = simulator.emit(200)
    worker.wait_delivered(200)
    exit_code = worker.stop()
    records = topics.read(broker, fresh)
    ((key, offset),) = topics.offsets(broker, fresh).items()

    assert 0 == exit_code
    assert sorted(sent) == sorted(topics.ids(records))
    assert all(record.timestamp == created_ms(record.key.decode()) for record in records)
    assert all(orjson.loads(record.value)["data"]["id"] == record.key.decode() for record in records)
    assert all("matching_rules" in orjson.loads(record.value) for record in records)
    assert {record.partition for record in records} == {0, 1, 2}
    assert '["posts",{"stream":"filtered"}]' == key
    assert 200 == offset["posts"]


def test_restart_continues(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """A worker that comes later goes on from the offset that the last one left."""
    simulator = simulate()
    settings = environment(broker, simulator.url, fresh)
    first = workers.start(settings).wait_ready()
    sent = simulator.emit(50)
    first.wait_delivered(50)
    assert 0 == first.stop()
    second = workers.start(settings).wait_ready()
    sent += simulator.emit(50)
    second.wait_delivered(100)
    assert 0 == second.stop()

    assert second.wait_event("task.resumed")["posts"] == 50
    assert sorted(sent) == sorted(topics.ids(topics.read(broker, fresh)))


def test_print(broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str) -> None:
    """`print` shows each delivered post in one line on standard output, and nothing else goes there."""
    simulator = simulate()
    worker = workers.start(environment(broker, simulator.url, fresh), print="true").wait_ready()
    simulator.emit_post("a starling\nover two lines #murmuration")
    wait_for(lambda: worker.out.endswith("\n"), "a printed post")
    worker.stop()

    (line,) = worker.out.splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z  \S+  a starling over two lines #murmuration", line)


@pytest.mark.parametrize("output", ["closed", "stalled"])
def test_print_where_nobody_reads(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str, output: str
) -> None:
    """A standard output that is closed, or that nobody reads, costs no post, no delay of Kafka's, and no exit code."""
    simulator = simulate()
    reading, writing = os.pipe()
    try:
        settings = environment(broker, simulator.url, fresh, print="true")
        if output == "closed":
            worker = workers.start(settings, through=("sh", "-c", 'exec "$@" >&-', "sh"))
        else:
            fill(writing)
            worker = workers.start(settings, stdout=writing)
        worker.wait_ready()
        sent = simulator.emit(300)
        worker.wait_delivered(300)
        if output == "closed":
            worker.wait_event("print.ended")
        assert worker.ready
        assert 0 == worker.stop()
    finally:
        os.close(reading)
        os.close(writing)

    assert sorted(sent) == sorted(topics.ids(topics.read(broker, fresh)))
    assert not worker.events("delivery.delayed")
    assert not worker.events("task.failed")
    assert "Traceback" not in worker.log


def test_at_least_once(broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str) -> None:
    """`at_least_once` uses no transaction; undisturbed, each post is there once and the offset behind them."""
    simulator = simulate()
    worker = workers.start(environment(broker, simulator.url, fresh, delivery="at_least_once")).wait_ready()
    sent = simulator.emit(200)
    worker.wait_delivered(200)
    assert 0 == worker.stop()
    records = topics.read(broker, fresh, "read_uncommitted")

    assert sorted(sent) == sorted(topics.ids(records))
    assert len(records) == topics.size(broker, fresh)  # no markers of transactions
    assert 200 == topics.offsets(broker, fresh)['["posts",{"stream":"filtered"}]']["posts"]


def test_killed_at_least_once(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """Ids and offset follow the posts: after SIGKILL they know of none that is not in the topic."""
    simulator = simulate(rate=250)
    worker = workers.start(environment(broker, simulator.url, fresh, delivery="at_least_once")).wait_ready()
    worker.wait_delivered(300)
    worker.kill()
    there = topics.ids(topics.read(broker, fresh))
    known = [str(post_id) for record in topics.read(broker, f"{fresh}-ledger") for post_id in decode_ids(record.value)]
    ((_, offset),) = topics.offsets(broker, fresh).items()

    assert len(set(there)) == len(there)
    assert set(known) <= set(there)
    assert 300 <= offset["posts"] <= len(known) <= len(there)  # the ids are written before the offset, in one request


@pytest.mark.parametrize("batch", [5, 4000])
def test_doubtful_commit(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str, batch: int
) -> None:
    """
    A commit whose outcome is unknown loses nothing and doubles nothing, and the connection to X outlives it.

    The producer is fenced by a stranger who writes nothing; with small batches, the next one is always built already.
    """
    simulator = simulate(rate=250, keepalive_s=0.5)
    settings = environment(broker, simulator.url, fresh, batch_max_records=batch, poll_interval_ms=20)
    worker = workers.start(settings).wait_ready()
    for count in (1, 2):
        worker.wait_delivered(worker.delivered() + 150)
        asyncio.run(_fence(broker, f"{fresh}-posts-0"))
        restarting = worker.wait_event("task.restarting", count=count)
        # Kafka 4.1 may answer the end of a transaction with UNKNOWN_SERVER_ERROR while the stranger ends it, too
        assert restarting["error"] in {"Fenced", "DeliveryFailed"}
    worker.wait_delivered(worker.delivered() + 150)
    simulator.rate = 0
    wait_for(lambda: all_delivered(simulator, worker), "all posts are delivered")
    assert 0 == worker.stop()
    found = topics.contents(broker, fresh)

    assert 1 == len(worker.events("stream.connected"))
    assert not found.doubled
    assert set(simulator.emissions.complete_ids()) == found.places.keys()
    assert not topics.out_of_order(topics.by_connection(simulator.emissions, found), found)
    assert found.records == topics.offsets(broker, fresh)['["posts",{"stream":"filtered"}]']["posts"]


async def _fence(broker: Broker, transactional_id: str) -> None:
    async with AIOKafkaProducer(bootstrap_servers=broker.address, transactional_id=transactional_id):
        pass


def test_time_limit(broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str) -> None:
    """The time limit counts from the first connection; then what was read is delivered, and the worker exits 0."""
    simulator = simulate(rate=100)
    simulator.fault("E503b", on="streams", count=1)  # the connect succeeds 5 s later
    worker = workers.start(environment(broker, simulator.url, fresh, time_limit_secs=4))

    assert 0 == worker.wait()
    connected = worker.wait_event("stream.connected")
    over = worker.wait_event("task.time_limit_reached")
    written = simulator.emissions.complete_ids()
    found = topics.ids(topics.read(broker, fresh))
    assert 4 <= seconds_between(connected, over) < 7
    assert found
    assert sorted(written[: len(found)]) == sorted(found)  # the unread rest are the last ones
    assert len(written) - len(found) < 100


def test_dead_letters(broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str) -> None:
    """With `errors.tolerance=all` a line that is no post goes aside, whole, with the reason in its headers."""
    simulator = simulate()
    letters = f"{fresh}-letters"
    settings = environment(broker, simulator.url, fresh, errors_tolerance="all", dead_letter_topic=letters)
    worker = workers.start(settings).wait_ready()
    sent = simulator.emit(10)
    simulator.fault("bad_line", variant="not_json")
    simulator.fault("bad_line", variant="not_utf8")
    sent += simulator.emit(10)
    worker.wait_delivered(20)
    assert 0 == worker.stop()
    found = topics.read(broker, letters)

    assert sorted(sent) == sorted(topics.ids(topics.read(broker, fresh)))
    assert [b"<html><body>Over capacity</body></html>", b'{"data":{"id":"1","text":"\xff\xfe"}}'] == [
        letter.value for letter in found
    ]
    for letter in found:
        headers = {name: value.decode() for name, value in letter.headers}
        assert headers.keys() == {"error.class", "error.message", "connector", "received_at"}
        assert ("BadRecord", "posts") == (headers["error.class"], headers["connector"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", headers["received_at"])
        assert headers["error.message"]


def test_bad_line_fails_the_task(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """With `errors.tolerance=none` it fails the task behind the posts before it; the worker stays and says why."""
    simulator = simulate()
    worker = workers.start(environment(broker, simulator.url, fresh)).wait_ready()
    before = simulator.emit(10)
    simulator.fault("bad_line", variant="not_json")
    simulator.emit(10)
    worker.wait_event("task.failed", error="ToleranceExceeded")
    (task,) = wait_for(lambda: [t for t in worker.status()["tasks"] if t["state"] == "FAILED"], "FAILED")
    ready, body = worker.get("/ready")

    assert worker.running
    assert "errors.tolerance" in task["trace"]
    assert 503 == ready
    assert "FAILED" in body["reasons"][0]
    assert 200 == worker.get("/ping")[0]
    assert 0 == worker.stop()
    assert sorted(before) == sorted(topics.ids(topics.read(broker, fresh)))
    assert 10 == topics.offsets(broker, fresh)['["posts",{"stream":"filtered"}]']["posts"]


async def test_wrong_offsets_topic(broker: Broker, workers: Workers, fresh: str) -> None:
    """An offsets topic that forgets offsets is not used: exit code 1, and a sentence with the cure."""
    await topics.create(
        broker, f"{fresh}-offsets", partitions=64, cleanup_policy="delete", max_message_bytes=str(8 * 1024 * 1024)
    )
    worker = workers.start(environment(broker, "http://127.0.0.1:9", fresh))

    assert 1 == worker.wait()
    (failed,) = worker.events("worker.failed")
    assert f"{fresh}-offsets" in failed["reason"]
    assert "--add-config cleanup.policy=compact" in failed["reason"]
    assert "Traceback" not in worker.log


def test_misconfigured(broker: Broker, workers: Workers, fresh: str) -> None:
    """All problems at once on standard error, exit code 78, and nothing is started."""
    worker = workers.start(environment(broker, "http://127.0.0.1:9", fresh, stream="everything", tasks_max="none"))

    assert 78 == worker.wait()
    assert "2 problems" in worker.log
    assert "Traceback" not in worker.log


def test_no_secret_is_told(
    broker: Broker, simulate: Callable[..., SimulatorThread], workers: Workers, fresh: str
) -> None:
    """Neither the token nor a key is in any line printed, any answer, or any topic; not even where they are refused."""
    token, secret = "token-AAAAAbbbbbCCCCC%3D", "secret-DDDDDeeeeeFFFFF"  # made up
    simulator = simulate(token=token, consumer_secret=secret, rate=20)
    letters = f"{fresh}-letters"
    settings = environment(
        broker,
        simulator.url,
        fresh,
        log_level="DEBUG",
        errors_tolerance="all",
        dead_letter_topic=letters,
        print="true",
    )
    by_token = workers.start(settings, x_bearer_token=token).wait_ready()
    simulator.fault("bad_line", variant="not_json")
    by_token.wait_delivered(20)
    simulator.fault("rst")
    by_token.wait_event("stream.connected", count=2)
    simulator.fault("E401", on="streams", count=5)
    simulator.fault("clean_close")
    by_token.wait_event("task.failed")
    _ask_everything(by_token)
    by_token.stop()
    pair = {**settings, "CONNECTOR_X_CONSUMER_KEY": "simulated-key", "CONNECTOR_X_CONSUMER_SECRET": secret}
    del pair["CONNECTOR_X_BEARER_TOKEN"]
    simulator.clear_faults()
    by_pair = workers.start(pair).wait_ready()
    _ask_everything(by_pair)
    by_pair.stop()
    internal = [r for name in ("statuses", "offsets") for r in topics.read(broker, f"{fresh}-{name}")]
    written = [repr(record) for record in [*topics.read(broker, letters), *internal]]
    told = [by_token.log, by_token.out, *by_token.answers, by_pair.log, by_pair.out, *by_pair.answers, *written]

    assert by_token.answers
    for text in told:
        assert token not in text
        assert secret not in text
        assert TOKEN not in text


def _ask_everything(worker: Worker) -> None:
    for path in ("/ping", "/ready", "/metrics", "/connectors", "/connectors?expand=info&expand=status", "/nowhere"):
        worker.get(path)
    for part in ("", "/config", "/status", "/offsets", "/tasks"):
        worker.get(f"/connectors/posts{part}")
