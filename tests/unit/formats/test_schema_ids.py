"""Ids are asked for once, in the background, until a registry answers."""

import asyncio
from collections import deque

import pytest

from connector.errors import RegistryAway, SchemaRefused
from connector.formats.schemas import ids
from connector.formats.schemas.ids import SchemaIds
from connector.formats.schemas.registry import Registered
from connector.formats.schemas.writer import Schema, Unfitting
from connector.telemetry.events.formats import RegistryAnswers, RegistryAwaited, SchemaFound

SCHEMA = Schema("AVRO", "{}", "birds.Post")


class Writer:
    schema = SCHEMA
    after_id = b""

    def body(self, value):
        return value

    def by(self, text):
        if text == "other":
            raise Unfitting("no default")
        return b"", None


class ScriptedRegistry:
    """A registry whose answers are *answers*; the last one is repeated."""

    def __init__(self, *answers):
        self.answers, self.asked, self.closed = deque(answers), [], 0

    async def find(self, subject, schema):
        self.asked.append(subject)
        await asyncio.sleep(0)
        answer = self.answers.popleft() if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self):
        self.closed += 1


class Asking:
    """`SchemaIds` with its events, and a count of how often it told."""

    def __init__(self, *answers, strategy="TopicNameStrategy"):
        self.registry, self.events, self.told = ScriptedRegistry(*answers), [], asyncio.Event()
        self.ids = SchemaIds(Writer(), self.registry, connector="posts", strategy=strategy, emit=self.events.append)

    def stamps(self, *topics):
        self.told.clear()
        return self.ids.stamps_for(topics or ("posts",), self.told.set)

    async def known(self, *topics):
        async with asyncio.timeout(10):
            while (found := self.stamps(*topics)) is None:
                await self.told.wait()
        return found


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(ids, "FIRST_PAUSE_SECS", 0.001)
    monkeypatch.setattr(ids, "LONGEST_PAUSE_SECS", 0.002)


async def test_asked_once():
    """What is known is not asked for again, and the connection is closed meanwhile."""
    asking = Asking(Registered(7))
    first = await asking.known()
    again = asking.stamps()
    await asyncio.sleep(0.01)

    assert b"\0\0\0\0\7x" == first["posts"].of(b"x") == again["posts"].of(b"x")
    assert (["posts-value"], 1) == (asking.registry.asked, asking.registry.closed)
    assert [SchemaFound(connector="posts", subject="posts-value", schema_id=7, type="AVRO")] == asking.events


async def test_all_topics_or_none():
    """A batch for several topics waits for the last of their ids."""
    asking = Asking(Registered(7), Registered(8))
    await asking.known("cats")

    assert asking.stamps("cats", "dogs") is None
    stamps = await asking.known("cats", "dogs")
    assert {"cats": 7, "dogs": 8} == {topic: stamp.head[4] for topic, stamp in stamps.items()}


async def test_one_subject_for_all_topics():
    """With the name of the record as subject, topics share the id."""
    asking = Asking(Registered(7), strategy="RecordNameStrategy")
    await asking.known("cats", "dogs")
    await asking.known("birds")

    assert ["birds.Post"] == asking.registry.asked


async def test_a_registry_that_is_away():
    """It is asked again and again; meanwhile there is a reason, and whoever waits is told."""
    asking = Asking(RegistryAway("silent"), RegistryAway("busy"), Registered(7))
    assert asking.stamps() is None
    await asyncio.wait_for(asking.told.wait(), 10)
    reason = asking.ids.waiting
    await asking.known()

    assert "RegistryAway: silent" == reason
    assert asking.ids.waiting is None
    assert [RegistryAwaited, RegistryAwaited, RegistryAnswers, SchemaFound] == list(map(type, asking.events))


async def test_refused_and_asked_again():
    """A refusal is told to who asks, once; who asks then has reason to hope."""
    asking = Asking(SchemaRefused("409: incompatible"), Registered(7))

    with pytest.raises(SchemaRefused, match="409: incompatible"):
        await asking.known()
    assert 7 == (await asking.known())["posts"].head[4]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Registered(7, "other"), "No post can be written by the latest version of posts-value: no default"),
        (SchemaRefused("401: no"), "401: no"),
    ],
)
async def test_a_person_has_to_act(answer, error):
    """Neither is cured by waiting."""
    with pytest.raises(SchemaRefused, match=error):
        await Asking(answer).known()


async def test_an_id_that_is_none():
    """It is no reason to write a value that nobody can read."""
    asking = Asking(Registered(0), Registered(7))
    await asking.known()

    assert ["posts-value"] * 2 == asking.registry.asked


async def test_nobody_asks_any_more(monkeypatch):
    """A connector that is gone leaves nothing behind that asks for ever; one that comes back is served."""
    monkeypatch.setattr(ids, "FORGOTTEN_SECS", 0.01)
    asking = Asking(RegistryAway("silent"))
    asking.stamps()
    await asyncio.wait_for(asking.ids._asking, 10)
    asking.registry.answers = deque([Registered(7)])

    assert await asking.known()


async def test_close_ends_at_once(monkeypatch):
    """Also in the middle of a pause."""
    monkeypatch.setattr(ids, "FIRST_PAUSE_SECS", 3600)
    asking = Asking(RegistryAway("silent"))
    asking.stamps()
    await asyncio.wait_for(asking.told.wait(), 10)
    await asyncio.wait_for(asking.ids.close(), 10)

    assert 1 == asking.registry.closed


async def test_an_error_that_nobody_foresaw():
    """It is not lost in the background: whoever wants a stamp gets it, and may ask anew."""
    asking = Asking(ZeroDivisionError("nobody"), Registered(7))
    asking.stamps()
    await asyncio.wait([asking.ids._asking], timeout=10)

    with pytest.raises(ZeroDivisionError, match="nobody"):
        asking.stamps()
    assert await asking.known()
