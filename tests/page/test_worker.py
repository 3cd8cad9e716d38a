"""The page of real workers on real Kafka, with a simulated X that fails on demand."""

import json
import time
from datetime import datetime
from urllib.request import Request, urlopen

import pytest

from tests.page.documents import MARKUP
from tests.page.test_states import phase, text
from tests.workers import SESSION_SECS, TOKEN, environment, undeclared, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

SEEN_SECS = 6.0
"""The page has 2 s; a machine on which much else runs gets three times that."""
REPAIR_MS = 60_000
MARGIN_SECS = 2.0
"""Coverage begins about a second after the first connect."""

WATCH = """
window.seen = {};
window.look = () => { for (const gap of document.querySelectorAll("#strips .gap"))
  window.seen[gap.dataset.state] ??= Date.now() / 1000; };
new MutationObserver(window.look).observe(
  document.getElementById("strips"), {subtree: true, childList: true, attributes: true});
"""


@pytest.fixture
def simulator(simulate):
    return simulate(keepalive_s=1, search_freshness_s=3)


@pytest.fixture
def worker(broker, simulator, workers, fresh):
    """A worker that has delivered 20 posts."""
    started = workers.start(environment(broker, simulator.url, fresh)).wait_ready()
    time.sleep(MARGIN_SECS)
    simulator.emit(20)
    started.wait_delivered(20)
    return started


def url(worker):
    return f"http://127.0.0.1:{worker.port}/"


def live(visit, worker, **options):
    page = visit(url(worker), **options)
    phase(page, "live")
    page.locator("#connector-rows tr").first.wait_for()
    return page


def at(event):
    return datetime.fromisoformat(event["timestamp"]).timestamp()


def until(page, state):
    """When a gap of that *state* was first seen, once it is."""
    page.wait_for_function("state => window.seen[state]", arg=state, timeout=REPAIR_MS)
    return page.evaluate("state => window.seen[state]", state)


def test_a_gap_opens_and_closes_on_the_screen(visit, worker, simulator):
    """Soon after the connection's end; it is repaired without a reload, and the events tell of it."""
    page = live(visit, worker)
    page.evaluate(WATCH)
    simulator.fault("refuse_tcp", seconds=6)
    simulator.fault("rst")
    seen = until(page, "open")
    opened = at(worker.wait_event("stream.disconnected"))
    page.get_by_text("until now").first.wait_for()
    for number in range(10):
        simulator.emit_post(f"murmur {number} #murmuration")
    repaired = until(page, "repaired")

    assert seen - opened < SEEN_SECS
    assert repaired - at(worker.wait_event("gap.repaired")) < SEEN_SECS
    page.locator("#verdict[data-level=ok]").wait_for()
    page.locator("#event-rows").get_by_text("gap.repaired").wait_for()
    assert "10 posts" in text(page, "#gap-rows tr:first-child")


def test_a_click_pauses_and_another_resumes(visit, worker, simulator):
    """What the page shows is what the worker does, and who may be read in the events."""
    page = live(visit, worker)
    for verb, state in (("Pause", "PAUSED"), ("Resume", "RUNNING"), ("Stop", "STOPPED")):
        page.locator("#connector-rows").get_by_role("button", name=verb).click()
        page.get_by_role("dialog").get_by_role("button", name=verb).click()
        page.locator("#connector-rows .pill", has_text=state).wait_for()
        wait_for(lambda expected=state: worker.status()["connector"]["state"] == expected, state)

    page.locator("#event-rows").get_by_text("connector.stopped").wait_for()


def test_one_of_two_workers_dies(visit, broker, simulator, workers, fresh):
    """The page of the other says so and goes on; the page of the dead one keeps what it shows, and is told why."""
    settings = environment(broker, simulator.url, fresh)
    first = workers.start(settings).wait_ready()
    second = workers.start(settings).wait_ready()
    wait_for(lambda: first.tasks or second.tasks, "an owner")
    dying, staying = (first, second) if first.tasks else (second, first)
    pages = {worker: live(visit, worker) for worker in (dying, staying)}
    wait_for(lambda: pages[staying].locator("#worker-rows tr").count() == 2, "both workers are shown")
    rows = text(pages[dying], "#connector-rows")
    dying.kill()
    phase(pages[dying], "lost")
    away = pages[staying].locator("#worker-rows tr", has_text=str(dying.port))
    away.get_by_text("away").wait_for(timeout=(SESSION_SECS + 60) * 1000)

    assert rows == text(pages[dying], "#connector-rows")
    assert "does not answer" in text(pages[dying], "#notice")
    assert "live" == pages[staying].evaluate("document.body.dataset.phase")
    wait_for(lambda: staying.tasks, "the task has moved")
    wait_for(lambda: f"on 127.0.0.1:{staying.port}" in text(pages[staying], "#connector-rows"), "the page says so")


def test_a_worker_is_started_again(visit, broker, simulator, workers, worker, fresh):
    """The page comes back by itself, with the history from before."""
    page = live(visit, worker)
    worker.stop()
    phase(page, "lost")
    again = environment(broker, simulator.url, fresh, web_port=worker.port)
    workers.start(again).wait_ready()
    phase(page, "live")

    page.locator("#event-rows").get_by_text("connector.declared").wait_for()


def test_a_lost_gap_is_retried(visit, broker, simulator, workers, fresh):
    """With a click and its confirmation; the page shows the gap lost, then repaired."""
    settings = environment(broker, simulator.url, fresh)
    first = workers.start(settings).wait_ready()
    time.sleep(MARGIN_SECS)
    simulator.emit(10)
    first.wait_delivered(10)
    first.stop()
    for number in range(20):
        simulator.emit_post(f"murmur {number} #murmuration")
    simulator.fault("E403c", on="search", count=1)
    page = live(visit, workers.start(settings).wait_ready())
    page.locator("#gap-rows .pill", has_text="lost").wait_for(timeout=REPAIR_MS)
    page.locator("#gap-rows").get_by_role("button", name="Retry").click()
    page.get_by_role("dialog").get_by_role("button", name="Retry").click()
    page.locator("#gap-rows .pill", has_text="repaired").wait_for(timeout=REPAIR_MS)

    assert "20 posts" in text(page, "#gap-rows tr:first-child")
    page.locator("#event-rows").get_by_text("gap.retry_asked").wait_for()


def test_behind_a_login_nothing_becomes_markup(visit, broker, simulator, workers, fresh):
    """Names and rules that are markup stay text on the way through Kafka; the login lets a person read and write."""
    settings = undeclared(broker, fresh) | {
        "CONNECTOR_WEB_USERS": "ada:grain of salt",
        "CONNECTOR_HOSTILE_TOKEN": TOKEN,
    }
    worker = workers.start(settings).wait_ready()
    rules = [{"value": "#murmuration", "tag": MARKUP}, {"value": "starling", "tag": "القاعدة"}]
    config = {
        "connector.class": "PostStreamSource",
        "topic": f"{fresh}-posts",
        "rules": json.dumps(rules),
        "x.api.url": simulator.url,
        "x.bearer.token": "${env:CONNECTOR_HOSTILE_TOKEN}",
    }
    name = MARKUP.partition("<script>")[0]  # a name has no slash
    status, body = worker.post("/connectors", {"name": name, "config": config})
    assert (201, name) == (status, body.get("name", body))
    page = live(visit, worker, http_credentials={"username": "ada", "password": "grain of salt"})
    page.locator("#rule-rows", has_text="القاعدة").wait_for()
    page.locator("#connector-rows").get_by_role("button", name="Pause").click()
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    page.locator("#connector-rows .pill", has_text="PAUSED").wait_for()

    page.locator("#event-rows").get_by_text("by ada").first.wait_for()
    assert MARKUP in page.locator("#rule-rows").text_content()
    assert name in page.locator("#connector-rows").text_content()
    assert 0 == page.locator("main img, main script").count()
    assert "1" != page.title()


def test_accessibility(visit, worker):
    """axe finds nothing to object to in the page of a real worker."""
    from axe_playwright_python.sync_playwright import Axe

    page = live(visit, worker, reduced_motion="reduce")
    found = Axe().run(page)

    assert "" == (found.generate_report() if found.violations_count else "")


def test_a_browser_alone_gets_the_page(worker):
    """At the same address a client of Connect gets its root."""
    with urlopen(Request(url(worker), headers={"Accept": "application/json, */*"})) as answer:  # noqa: S310  # http
        assert {"version", "commit", "kafka_cluster_id"} == set(json.load(answer))
