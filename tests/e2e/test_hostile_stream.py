"""Lines that parsers refuse, from the socket into Kafka."""

import pytest

from tests import topics
from tests.brokers import Broker
from tests.unit.fakes import id_of, post
from tests.unit.hostile import beside, deep, text
from tests.unit.sources.scripted import HOLD, ScriptedServer, answer, pause, stream
from tests.workers import Workers, environment

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

LINES = [
    text(rb"cut \ud83d", id_of(1)),
    text(rb"\udc26 \ud83d beside a duplicate", id_of(2)),
    deep(1_000, id_of(3)),
    deep(1_500, id_of(4), objects=True),
    deep(400_000, id_of(5)),
    beside(b"1e999", id_of(6)),
    post(7),
]
BAD = [deep(1_500, id_of(8))[:-1], text(b"\xed\xa0\xbd", id_of(9)), b"[" * 100_000]


@pytest.mark.parametrize("pure_python", ["", "1"], ids=["compiled", "python"])
def test_hostile_lines(pure_python: str, broker: Broker, workers: Workers, fresh: str) -> None:
    """What is JSON is in the topic byte for byte, alone or beside a duplicate; what is none is a dead letter."""
    alone, *others = LINES
    together = b"".join(line + b"\r\n" for line in (post(0), *others[:3], *BAD, *others[3:], post(0)))
    sample = stream(post(0) + b"\r\n", pause(0.5), alone + b"\r\n", pause(0.5), together, HOLD)

    def x(connection, request, server):
        step = sample if "/sample/stream" in request.path else answer(404, {"title": "Not Found"})
        return step(connection, request, server)

    with ScriptedServer([x]) as server:
        settings = environment(
            broker,
            server.url,
            fresh,
            stream="sample",
            errors_tolerance="all",
            dead_letter_topic=f"{fresh}-letters",
            pure_python=pure_python,
        )
        del settings["CONNECTOR_HASHTAGS"]  # a sample has no rules
        worker = workers.start(settings)
        worker.wait_delivered(1 + len(LINES))
        compiled = worker.wait_event("worker.starting")["compiled"]
        assert 0 == worker.stop()

    assert compiled is not bool(pure_python)
    assert sorted([post(0), *LINES]) == sorted(record.value for record in topics.read(broker, fresh))
    letters = topics.read(broker, f"{fresh}-letters")
    assert sorted(BAD) == sorted(letter.value for letter in letters)
    assert all(b"A line of " in dict(letter.headers)["error.message"] for letter in letters)
    assert "Traceback" not in worker.log
