"""
Nothing lost and nothing doubled by Avro, with the schema registry frozen and killed while workers die.

    make chaos ARGS='-k avro' CONNECTOR_CHAOS_MINUTES=10

Without CONNECTOR_CHAOS_MINUTES there are two faults, and it takes some three minutes.
"""

import json
import os
import random
import threading
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO

import pytest
from fastavro import parse_schema, schemaless_reader

from connector.simulator import SimulatorThread
from tests import topics
from tests.brokers import KafkaBroker
from tests.chaos.alone import CONNECTOR, WORKERS, worker_settings
from tests.chaos.sightings import Watch
from tests.chaos.stage import FAULTS, Stage, script
from tests.chaos.times import COMPRESSED, simulator_settings
from tests.registries import Registry
from tests.workers import Workers

MINUTES = float(os.environ.get("CONNECTOR_CHAOS_MINUTES", "0"))
SEED = int(os.environ.get("CONNECTOR_CHAOS_SEED", "1"))
AWAY_SECS = 15.0
OURS = ("kill_while_frozen", "kill_while_dead", "all_down_while_dead", "registry_frozen")
SHORT = ("kill_while_frozen", "kill_while_dead")

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(MINUTES * 60 + 1500)]


class RegisteredStage(Stage):
    """A stage with a schema registry, which is away for a while when the owner of the task dies."""

    registry: Registry

    def kill_while_frozen(self) -> None:
        """The heir asks a registry that accepts connections and answers nothing."""
        self.registry.freeze()
        with self._back(self.registry.thaw):
            self.kill()

    def kill_while_dead(self) -> None:
        """The heir asks a registry that is not there; then one that has forgotten all."""
        self.registry.kill()
        with self._back(self.registry.start):
            self.kill()

    def all_down_while_dead(self) -> None:
        """All workers start while it is away."""
        self.registry.kill()
        with self._back(self.registry.start):
            self.all_down()

    def registry_frozen(self) -> None:
        """Nobody notices: the id is known."""
        self.registry.freeze()
        with self._back(self.registry.thaw):
            self.reset_mid_line()

    def _back(self, come: Callable[[], None]) -> "_Later":
        return _Later(AWAY_SECS, come)


class _Later:
    """Calls *call* after *secs*, also while the block is still at work; the block's end waits for it."""

    def __init__(self, secs: float, call: Callable[[], None]) -> None:
        self._timer = threading.Timer(secs, call)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.join()


def faults(rng: random.Random) -> Iterator[str]:
    return script(rng, MINUTES, (*FAULTS, *OURS)) if MINUTES else iter(SHORT)


def test_exactly_once_by_avro(
    frail_broker: KafkaBroker,
    frail_registry: Registry,
    simulate: Callable[..., SimulatorThread],
    workers: Workers,
    fresh: str,
) -> None:
    """Each post that matched while there was coverage is in the topic, once, with the id of our schema."""
    frail_registry.start()
    frail_registry.wait()
    simulator = simulate(**simulator_settings(COMPRESSED, "ppu", SEED))
    formats = {"value_format": "avro", "schema_registry_url": frail_registry.url}
    settings = worker_settings(COMPRESSED, frail_broker, simulator.url, fresh, plan="pay_per_use", **formats)
    rng = random.Random(f"{SEED} avro")
    start = partial(workers.start, settings)
    stage = RegisteredStage(simulator, frail_broker, start, COMPRESSED, rng, size=WORKERS, names=[CONNECTOR])
    stage.registry = frail_registry
    with Watch(lambda: list(stage.alive), CONNECTOR) as watch:
        stage.open()
        for fault in faults(rng):
            stage.do(fault)
        last_ms = stage.fall_silent() * 1000
        final, complaint = watch.wait(
            CONNECTOR, lambda seen: seen.covered_to_ms >= last_ms and not seen.gaps, COMPRESSED.closing
        )
    exits = [worker.stop() for worker in stage.alive]
    waited = sum(len(worker.events("schema.registry_awaited")) for worker in workers.all)

    frail_registry.wait()
    text = frail_registry.ask(f"/subjects/{fresh}-value/versions/latest")
    schema, head = parse_schema(json.loads(text["schema"])), b"\0" + int(text["id"]).to_bytes(4, "big")
    heads = set()

    def read(value: bytes) -> dict:
        heads.add(value[:5])
        post = schemaless_reader(BytesIO(value[5:]), schema)
        rules = [{"id": rule["id"], "tag": rule["tag"] or ""} for rule in post["matching_rules"]]
        return {"id": post["id"], "matching_rules": rules}

    found = topics.contents(frail_broker, fresh, read)
    emissions = list(simulator.emissions)
    matched = {
        each.post_id: frozenset(zip(each.rule_ids, each.tags, strict=True))
        for each in emissions
        if topics.created_ms(each.post_id) >= final.covered_from_ms
    }
    wrong = [
        post_id for post_id, place in found.places.items() if post_id in matched and place.rules != matched[post_id]
    ]

    assert complaint is None
    assert [0] * len(exits) == exits
    assert {head} == heads
    assert [] == found.strange[:5]
    assert {} == dict(found.doubled.most_common(5))
    assert [] == sorted(matched.keys() - found.places.keys())[:5]
    assert set() == topics.never_emitted(emissions, found)
    assert [] == wrong[:5]
    assert waited > 0
