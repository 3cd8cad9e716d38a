import asyncio
import json
import time

import pytest
from aiohttp import ClientTimeout

from connector.cluster.view import live
from connector.config.names import Names
from connector.coverage.offset import Coverage, Gap, GapState
from connector.coverage.spend import Spend
from connector.history.records import Counts, Minute, Told
from connector.records.snowflake import to_iso
from connector.task.status import State, TaskStatus
from tests.unit.fakes import until
from tests.unit.web.test_web import ENVIRONMENT, PASSWORD, TASK, basic, serving

FILTERED = {"stream": "filtered"}
NAME = "python"


@pytest.fixture
async def web(tmp_path):
    async with serving(tmp_path, ENVIRONMENT | {"CONNECTOR_BUDGET_USD_PER_MONTH": "100"}) as web:
        web.answered()
        # In the middle of a minute, where it stays: a minute that ends would bring messages that no test expects.
        minute = time.time() // 60 * 60
        history_of(web).view.clock = lambda: minute + 20
        yield web


@pytest.fixture
async def ticking(web):
    """The same, with the clock that tells viewers of changes."""
    services = [service for service in web.app.after_producer if isinstance(service, live.Live)]
    async with services[0]:
        yield web


def now_ms(web):
    return int(history_of(web).view.clock() * 1000)


def history_of(web):
    (found,) = [service for service in web.app.after_producer if isinstance(service, live.Live)]
    return found


def tell(web, record, offset=0):
    history_of(web).view.history.apply(record, offset)


def tell_of_an_hour(web):
    """Ten minutes in which a connector has delivered two posts a second."""
    minute = now_ms(web) // 60_000 * 60
    counts = Counts(received=130, delivered=120, mills=600, timed=120, age=(1000, 2000), rules={NAME: (130, 130)})
    for ago in range(1, 11):
        tell(web, Minute(process="p", number=ago, at=minute - 60 * ago, worker="w:1", connectors={"posts": counts}))


def event(number, kind="gap.opened", **facts):
    return Told(process="q", number=number, at=number * 1000, kind=kind, level="info", worker="w:1", **facts)


async def shown(web, query=""):
    status, headers, document = await web.get(f"/history{query}")
    assert (200, "no-store") == (status, headers["Cache-Control"])
    return document


async def test_state_of_a_connector(web):
    """State, tasks, covered time, gaps with what is done about them and cost, money; and the verdict on it."""
    tell_of_an_hour(web)
    now = now_ms(web)
    lost = Gap(
        from_ms=now - 300_000, to_ms=now - 200_000, reason="connection_lost", state=GapState.LOST, detail="too old"
    )
    spent = Spend(day="2020-01-01", month="2020-01").after(now, 10, 5)
    coverage = Coverage(covered_from_ms=now - 3_600_000, covered_to_ms=now - 15_000, gaps=(lost,), posts=7, spent=spent)
    web.tell_offset(FILTERED, coverage.encode())
    web.statuses.publish(TASK, TaskStatus(state=State.RUNNING, open_now=("one",)))

    document = await shown(web)
    connector, verdict = document["state"]["connectors"]["posts"], document["state"]["verdict"]

    assert ("RUNNING", True, "filtered", "posts", "exactly_once", 7) == tuple(
        connector[name] for name in ("state", "connected", "stream", "topic", "delivery", "posts_total")
    )
    assert {"state": "RUNNING", "connections": 1} == {
        name: connector["tasks"]["0"][name] for name in ("state", "connections")
    }
    (gap,) = connector["gaps"]
    assert (100.0, "lost", "It is lost: too old.", 200, 1.0) == tuple(
        gap[name] for name in ("seconds", "state", "doing", "estimate_posts", "estimate_usd")
    )
    assert (True, True, False) == (gap["can_retry"], gap["can_accept"], gap["goes_on"])
    assert ({"open": 0, "repairing": 0, "lost": 1}, 100.0) == (connector["gaps_count"], connector["missing_secs"])
    assert (10, 0.05, 100.0) == tuple(
        connector["spend"][name] for name in ("today_posts", "month_usd", "budget_usd_per_month")
    )
    assert ("error", "posts", 1) == (verdict["level"], verdict["connector"], verdict["problems"])


async def test_all_is_well_since(web):
    """Since the begin of the covered time or the last connection; while there is no connection, it is not."""
    now = now_ms(web)
    web.statuses.publish(TASK, TaskStatus(state=State.RUNNING, open_now=("one",)))
    web.tell_offset(FILTERED, Coverage(covered_from_ms=now - 900_000, covered_to_ms=now - 15_000).encode())
    assert to_iso(now - 900_000) == (await shown(web))["state"]["verdict"]["since"]
    tell(web, event((now - 300_000) // 1000, kind="stream.connected", connector="posts"))
    await asyncio.sleep(live.TICK_SECS)
    assert to_iso((now - 300_000) // 1000 * 1000) == (await shown(web))["state"]["verdict"]["since"]
    web.statuses.publish(TASK, TaskStatus(state=State.RUNNING, outages=(("", "connection_lost"),)))
    await asyncio.sleep(live.TICK_SECS)

    connector = (await shown(web))["state"]["connectors"]["posts"]
    assert (None, 0) == (connector["delivers_since"], connector["tasks"]["0"]["connections"])


async def test_an_outage_is_seen_at_once(web):
    """What a task says of its connection is in the next answer."""
    now = now_ms(web)
    web.tell_offset(FILTERED, Coverage(covered_from_ms=now - 60_000, covered_to_ms=now - 15_000).encode())
    web.statuses.publish(TASK, TaskStatus(state=State.RUNNING, open_now=("one",)))
    assert "ok" == (await shown(web))["state"]["verdict"]["level"]
    web.statuses.publish(TASK, TaskStatus(state=State.RUNNING, outages=(("", "connection_lost"),)))
    await asyncio.sleep(live.TICK_SECS / 2)

    state = (await shown(web))["state"]
    assert ("warning", False) == (state["verdict"]["level"], state["connectors"]["posts"]["connected"])
    assert [True] == [gap["goes_on"] for gap in state["connectors"]["posts"]["gaps"]]


async def test_range(web):
    """Points, sums and rules, those that are configured and brought nothing among them."""
    tell_of_an_hour(web)
    shown_range = (await shown(web, "?range=15m"))["range"]

    assert 10 == sum(value == 130 for value in shown_range["series"]["received"])
    totals = shown_range["connectors"]["posts"]
    assert (1300, 1200, 6.0) == (totals["received"], totals["delivered"], totals["usd"])
    rule = shown_range["rules"][f"posts/{NAME}"]
    assert (True, "#python", 1300, 1.0, 0, 6.5, 6.5) == tuple(
        rule[name] for name in ("in_force", "value", "posts", "share", "overlap", "usd", "usd_alone")
    )


async def test_events(web):
    """The newest first, each with a sentence; one connector's alone, with those of no connector."""
    late = now_ms(web) // 1000
    tell(web, event(late - 9, kind="connector.paused", connector="posts", by="wren"), 5)
    tell(web, event(late - 8, kind="connector.paused", connector="birds"), 6)
    tell(web, event(late - 7, kind="worker.ready"), 7)

    assert ["7", "6", "5"] == [each["id"] for each in (await shown(web))["events"]]
    mine = (await shown(web, "?connector=posts"))["events"]
    assert [("7", None), ("5", "wren")] == [(each["id"], each["by"]) for each in mine]
    assert "The connector was paused." == mine[1]["text"]


@pytest.mark.parametrize(
    ("query", "status", "word"),
    [("?range=2h", 400, "15m, 1h, 6h, 24h, 7d"), ("?connector=birds", 404, "no such connector")],
)
@pytest.mark.parametrize("path", ["/history", "/events"])
async def test_wrong_queries(web, path, query, status, word):
    """A range or connector that there is not is refused in a sentence."""
    found, _, body = await web.get(path + query)

    assert status == found == body["error_code"]
    assert word in body["message"]


async def test_a_worker_that_does_not_know_yet(web):
    """It answers, and says that it does not know."""
    web.logs[0].caught_up.clear()
    state = (await shown(web))["state"]

    assert ("unknown", {}) == (state["verdict"]["level"], state["connectors"])


# -- the stream of changes


async def next_of(response):
    """Return id, kind and document of the next message."""
    fields = {}
    async with asyncio.timeout(10):
        async for raw in response.content:
            line = raw.decode().rstrip("\n")
            if not line and "data" in fields:
                return fields["id"], fields["event"], json.loads(fields["data"])
            name, _, value = line.partition(": ")
            fields[name] = value
    return None


def watching(web, query="", **headers):
    return web.client.get(f"/events{query}", headers=headers, timeout=ClientTimeout(total=60))


async def test_snapshot_then_changes(ticking):
    """A viewer gets the document, and then what changes and nothing else."""
    async with watching(ticking) as response:
        first = await next_of(response)
        ticking.statuses.publish(TASK, TaskStatus(state=State.FAILED, trace="NotAuthorized: no"))
        second = await next_of(response)
        tell(ticking, event(now_ms(ticking) // 1000, kind="task.failed", connector="posts"), 3)
        third = await next_of(response)

    assert "text/event-stream" == response.content_type
    assert ("snapshot", {"id", "at", "state", "range", "events"}) == (first[1], set(first[2]))
    assert ("delta", "FAILED") == (second[1], second[2]["patch"]["connectors"]["posts"]["state"])
    assert not {"range", "points", "events", "state"} & set(second[2])
    assert ["3"] == [each["id"] for each in third[2]["events"]]
    assert 3 == len({first[0], second[0], third[0]})


async def test_points_follow(ticking):
    """A minute brings its points, and the sums of the range."""
    async with watching(ticking, "?range=15m") as response:
        await next_of(response)
        tell_of_an_hour(ticking)
        _, _, document = await next_of(response)

    assert 130 in document["points"]["received"]
    assert {len(document["points"]["t"])} == {len(column) for column in document["points"].values()}
    assert 1300 == document["range"]["connectors"]["posts"]["received"]


async def test_resumes(ticking):
    """Who comes back, perhaps to another worker, gets the state and the events since; who was away too long, all."""
    tell_of_an_hour(ticking)
    for offset in (10, 11):
        tell(ticking, event(now_ms(ticking) // 1000 + offset), offset)
    minute = history_of(ticking).view.history.newest_minute
    async with watching(ticking, **{"Last-Event-ID": f"10.{minute}.anotherprocess.99"}) as response:
        _, kind, document = await next_of(response)
    assert ("delta", ["11"]) == (kind, [each["id"] for each in document["events"]])
    assert "posts" in document["state"]["connectors"]
    assert len(document["points"]["t"]) < 10

    for last in ("", "nonsense", f"10.{minute - 9_000}.p.1", f"99.{minute}.p.1", "x" * 5_000):
        async with watching(ticking, **{"Last-Event-ID": last}) as response:
            assert "snapshot" == (await next_of(response))[1]


async def test_the_topic_was_deleted(ticking):
    """What was told before is no more: a viewer gets everything anew."""
    tell(ticking, event(now_ms(ticking) // 1000), 10)
    async with watching(ticking) as response:
        await next_of(response)
        history_of(ticking).view.history.clear()
        assert "snapshot" == (await next_of(response))[1]


async def test_viewers_are_bounded(ticking, monkeypatch):
    """One too many is told so; when one leaves there is room again."""
    monkeypatch.setattr(live, "VIEWERS_MAX", 1)
    async with watching(ticking) as response:
        await next_of(response)
        status, _, body = await ticking.get("/events")
        assert (503, 503) == (status, body["error_code"])
        assert 1 == history_of(ticking).viewers
    ticking.statuses.publish(TASK, TaskStatus(state=State.FAILED, trace="a change shows that it has gone"))
    await until(lambda: history_of(ticking).viewers == 0)


async def test_a_quiet_stream_lives(ticking, monkeypatch):
    """Where nothing changes a comment shows that the worker lives."""
    monkeypatch.setattr(live, "KEEP_ALIVE_SECS", 0.0)
    async with watching(ticking) as response:
        await next_of(response)
        async with asyncio.timeout(10):
            while await response.content.readline() != b": keep-alive\n":
                pass


async def test_it_ends_with_the_worker(web):
    """A worker that stops does not wait for its viewers."""
    service = history_of(web)
    async with service:
        response = await watching(web)
        await next_of(response)
    async with asyncio.timeout(5):
        assert await next_of(response) is None


async def test_nobody_looks(ticking):
    """While nobody looks nothing is computed."""
    looks = []
    history_of(ticking)._look = lambda: looks.append(None)
    await asyncio.sleep(2.5 * live.TICK_SECS)

    assert [] == looks


async def test_head_of_a_stream(web):
    """HEAD has the headers, and an end."""
    async with asyncio.timeout(5), web.client.head("/events") as response:
        assert (200, "text/event-stream") == (response.status, response.content_type)
        assert b"" == await response.read()


async def test_login(tmp_path):
    """Both routes ask for the login, where there is one."""
    async with serving(tmp_path, ENVIRONMENT | {"CONNECTOR_WEB_USERS": f"ada:{PASSWORD}"}) as web:
        for path in ("/history", "/events"):
            assert 401 == (await web.get(path))[0]
        assert 200 == (await web.get("/history", headers=basic(f"ada:{PASSWORD}")))[0]


def test_names():
    """The topic is the group's own."""
    assert "birds-history" in Names("birds").topics
