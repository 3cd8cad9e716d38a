"""The states that the page is designed for, each on a stage: what it shows, and what stays."""

import time

import pytest

from tests.page import documents
from tests.page.conftest import PHONE
from tests.page.documents import MARKUP, Story, calm, crowded, hostile, iso, troubled

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

LOOKS = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": PHONE, "has_touch": True, "is_mobile": True},
}
PAINT_MS = 1_000


def phase(page, expected):
    page.wait_for_selector(f"body[data-phase={expected}]", timeout=30_000)


def shown(stage, visit, story, **options):
    """A page with the document of *story*, once it is shown."""
    stage.document = story.document()
    page = visit(stage.url, **options)
    phase(page, "live")
    page.wait_for_function(
        "text => document.getElementById('verdict-title').textContent === text", arg=story.verdict["text"]
    )
    return page


def text(page, selector):
    return page.locator(selector).inner_text()


def test_loading(stage, visit):
    """Before the worker has answered the page says that it asks; the answer then fills it, without a reload."""
    page = visit(stage.url)
    assert "Asking the worker" in text(page, "#verdict")
    assert "Loading" == text(page, "#phase")

    stage.tell(calm(time.time()).document())
    phase(page, "live")
    page.get_by_text("All is well").first.wait_for()


def test_nothing_yet(stage, visit):
    """Without a connector each part says what is to be done, and nothing is drawn of nothing."""
    page = shown(stage, visit, Story(time.time()))

    assert "There is no connector yet" in text(page, "#verdict")
    assert "POST /connectors" in text(page, "#no-connectors")
    assert page.locator("#connectors-table").is_hidden()
    assert page.locator("#gap-table").is_hidden()
    assert "Nothing of that kind" in text(page, "#no-events")


def test_live(stage, visit):
    """A delta changes what it is about, and leaves the focus, an open table and the place on the page as they were."""
    story = calm(time.time())
    page = shown(stage, visit, story)
    page.locator("#charts summary").first.click()
    button = page.locator("#connector-rows button", has_text="Pause")
    button.focus()
    before = button.bounding_box()
    point = {"t": [story.document()["range"]["series"]["t"][-1] + 60], "received": [600]}
    event = {**story.events[0], "id": "9000", "text": "A new event."}
    patch = {"connectors": {"posts": {"posts_per_sec": 77.0}}, "verdict": {"level": "warning", "text": "Changed."}}
    stage.change(at=iso(time.time()), patch=patch, points=point, events=[event])
    page.get_by_text("Changed.", exact=True).first.wait_for()

    assert "77/s" in text(page, "#connector-rows")
    assert "A new event." in text(page, "#event-rows li:first-child")
    assert "10/s" in text(page, "#charts tbody tr:first-child >> nth=0")
    assert "Pause" == page.evaluate("document.activeElement.textContent")
    assert abs(before["y"] - button.bounding_box()["y"]) < 2
    assert "!" in page.title()


def test_numbers_are_not_announced(stage, visit):
    """A screen reader hears the verdict and the state of the stream, and not each figure that changes."""
    page = shown(stage, visit, calm(time.time()))
    live = page.eval_on_selector_all("[role=status], [aria-live]", "found => found.map(each => each.id)")

    assert {"phase", "notice", "verdict-told", "toast"} == set(live)


def test_frozen_by_the_viewer(stage, visit):
    """Nothing moves until he goes on; then all that came meanwhile is there."""
    page = shown(stage, visit, calm(time.time()))
    page.get_by_role("button", name="Freeze").click()
    phase(page, "frozen")
    for number in (1, 2):
        stage.change(at=iso(time.time()), patch={"verdict": {"text": f"News {number}"}})
    page.get_by_text("2 updates wait").wait_for()
    assert "All is well" in text(page, "#verdict-title")

    page.get_by_role("button", name="Go on").click()
    page.get_by_text("News 2").first.wait_for()
    assert "Live" == text(page, "#phase")


def test_stream_lost(stage, visit):
    """What was shown stays, with its age; the page comes back by itself."""
    page = shown(stage, visit, troubled(time.time()))
    rows = text(page, "#connector-rows")
    stage.vanish()
    phase(page, "lost")

    assert "does not answer" in text(page, "#notice")
    assert rows == text(page, "#connector-rows")
    page.wait_for_function("() => document.querySelector('#coverage .as-of').textContent.startsWith('as of')")
    page.wait_for_function("() => /^([5-9]|1[0-9]) s old$/.test(document.getElementById('age').textContent)")

    stage.document = calm(time.time()).document()
    stage.come_back()
    phase(page, "live")
    page.get_by_text("All is well").first.wait_for()
    assert page.locator("#notice").is_hidden()
    assert "" == text(page, "#coverage .as-of")


def test_stream_resumed(stage, visit):
    """A page that was away for a moment gets what has changed: all of the state, without what is gone."""
    story = troubled(time.time())
    page = shown(stage, visit, story)
    stage.vanish()
    phase(page, "lost")
    state = story.document()["state"]
    del state["connectors"]["archive"]
    stage.resumed = {"at": iso(time.time()), "state": state}
    stage.come_back()
    phase(page, "live")

    page.get_by_role("button", name="Edit archive").wait_for(state="detached")
    assert 4 == page.locator("#connector-rows tr").count()
    assert page.locator("#charts canvas").count()


def test_a_frozen_worker_is_noticed(stage, visit):
    """A stream that is silent may have nothing to tell, or nobody behind it: the worker is asked."""
    stage.document = calm(time.time()).document()
    page = visit("about:blank")
    page.clock.install()
    page.goto(stage.url)
    phase(page, "live")
    page.clock.fast_forward(25_000)
    page.wait_for_timeout(300)
    assert "live" == page.evaluate("document.body.dataset.phase")

    page.route("**/ping", lambda route: route.abort())
    page.clock.fast_forward(25_000)
    phase(page, "lost")


def test_no_stream_to_spare(stage, visit):
    """Where the worker refuses one more stream the page asks again and again, and says so."""
    stage.document, stage.streams_refused = calm(time.time()).document(), "too many"
    page = visit(stage.url)
    phase(page, "live")

    page.get_by_text("Live, every 10 s").wait_for()
    assert "All is well" in text(page, "#verdict")


def test_nothing_is_sent_to_a_hidden_tab(stage, visit):
    """Its stream ends, and begins again once somebody looks."""
    page = shown(stage, visit, calm(time.time()))
    _show_tab(page, hidden="true")
    page.wait_for_timeout(500)
    stage.change(at=iso(time.time()), patch={"verdict": {"text": "Unseen"}})
    page.wait_for_timeout(500)
    assert "All is well" in text(page, "#verdict-title")
    asked = len(stage.asked)

    _show_tab(page, hidden="false")
    phase(page, "live")
    page.wait_for_timeout(300)
    assert asked + 1 == len(stage.asked)


def _show_tab(page, *, hidden):
    page.evaluate(f"Object.defineProperty(document, 'hidden', {{value: {hidden}, configurable: true}})")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def test_one_worker_of_several_is_away(stage, visit):
    """It stays in the list, first, and the verdict says what becomes of its tasks."""
    page = shown(stage, visit, troubled(time.time()))

    assert "away" in text(page, "#worker-rows tr:first-child")
    assert "weather-0" in text(page, "#worker-rows tr:first-child")
    assert "Its tasks move" in text(page, "#problems")
    assert "1 away" in text(page, "#figures")


def test_idle_is_not_stalled(stage, visit):
    """Both bring no post: the one is heard, the other is not."""
    story = Story(time.time())
    story.connector("idle", per_second=0.0).connector("stalled", per_second=0.0, behind_secs=90.0)
    page = shown(stage, visit, story.says("ok", "Two connectors"))

    assert "idle: X is heard" in text(page, "#connector-rows tr:nth-child(1)")
    assert "stalled: X is not heard" in text(page, "#connector-rows tr:nth-child(2)")


def test_nothing_from_outside_becomes_markup(stage, visit):
    """Names, reasons and rules that are markup are shown as they are written."""
    page = shown(stage, visit, hostile(time.time()))
    page.locator("#strips [role=listbox]").first.focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Close").click()

    assert 0 == page.locator("main img, main script, dialog img, dialog script").count()
    assert "1" != page.title()
    for selector in ("#verdict-title", "#problems", "#gap-rows", "#rule-rows", "#connector-rows", "#event-rows"):
        assert (selector, True) == (selector, MARKUP in page.locator(selector).text_content())
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "long names widen the page"
    assert ["https://x.com/i/web/status/1999999999999999999"] == page.eval_on_selector_all(
        "#event-rows a", "links => links.map(link => link.href)"
    )


def test_gaps_by_keyboard(stage, visit):
    """Arrow keys go from gap to gap, each is told whole, Enter opens one, Escape brings back to where one was."""
    page = shown(stage, visit, troubled(time.time()))
    strip = page.get_by_role("listbox", name="posts:")
    strip.focus()
    page.keyboard.press("Home")
    assert "lost" in text(page, "#gap-card")
    page.keyboard.press("ArrowRight")
    assert "repaired by search" in text(page, "#gap-card")
    page.keyboard.press("ArrowRight")
    chosen = page.locator(f"#{strip.get_attribute('aria-activedescendant')}")
    assert "being repaired" in chosen.get_attribute("aria-label")
    page.keyboard.press("Enter")
    assert "ServiceUnavailable" in text(page, "dialog")
    page.keyboard.press("Escape")
    assert strip.evaluate("element => element === document.activeElement")


def test_range(stage, visit):
    """Another range is asked for as another stream."""
    page = shown(stage, visit, calm(time.time()))
    stage.document = calm(time.time(), "24h").document()
    page.get_by_role("radio", name="24 h").check()
    page.get_by_text("in the last 24 h").first.wait_for()

    assert ["range=1h", "range=24h"] == stage.asked


def test_filters(stage, visit):
    """Events by words, subject and level; rules by words and by any column."""
    page = shown(stage, visit, troubled(time.time()))
    page.get_by_label("Subject").select_option("task")
    assert 1 == page.locator("#event-rows li").count()
    page.get_by_label("Subject").select_option("")
    page.get_by_label("Level").select_option("error")
    assert 2 == page.locator("#event-rows li").count()
    page.locator("#event-words").fill("401")
    assert 1 == page.locator("#event-rows li").count()

    page.locator("#rule-words").fill("cup")
    assert 1 == page.locator("#rule-rows tr").count()
    page.locator("#rule-words").fill("")
    page.get_by_role("button", name="Share").click()
    assert "storm" in text(page, "#rule-rows tr:first-child")
    page.get_by_role("button", name="Share").click()
    assert "cup" in text(page, "#rule-rows tr:first-child")


def test_a_history_that_is_not_whole(stage, visit):
    """The page says why its plots may lack something."""
    story = calm(time.time())
    stage.document = story.document()
    stage.document["state"]["history"] |= {"complete": False, "reason": "The history is being read: 40 % of it."}
    page = visit(stage.url)
    phase(page, "live")

    page.get_by_text("The history is being read: 40 % of it.").wait_for()
    assert page.locator("#charts canvas").count()


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_motion(stage, visit, motion):
    """Nothing moves for whoever wants no motion."""
    page = shown(stage, visit, calm(time.time()), reduced_motion=motion)
    moving = page.evaluate("document.getAnimations().length")

    assert (motion == "reduce") == (moving == 0)


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("story", ["calm", "troubled", "hostile"])
def test_accessibility(stage, visit, story, look):
    """axe finds nothing to object to, also in an open dialog."""
    from axe_playwright_python.sync_playwright import Axe

    page = shown(stage, visit, getattr(documents, story)(time.time()), reduced_motion="reduce", **LOOKS[look])
    found = [Axe().run(page)]
    page.locator("#connector-rows button", has_text="Stop").first.click()
    found.append(Axe().run(page))

    assert [""] * 2 == [each.generate_report() if each.violations_count else "" for each in found]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.alone
def test_first_paint_of_a_week(stage, visit):
    """A week of 100 connectors, 200 gaps, 1,000 rules and 20 workers is on the screen within a second."""
    stage.document = crowded(time.time()).document()
    best = min(_paint_ms(visit, stage.url) for _ in range(5))

    assert best < PAINT_MS


def _paint_ms(visit, url):
    page = visit("about:blank")
    page.add_init_script(
        "new MutationObserver((_, watch) => { if (document.querySelector('#worker-rows tr')) { watch.disconnect();"
        " requestAnimationFrame(() => setTimeout(() => (window.filled = performance.now()))); } })"
        ".observe(document, {subtree: true, childList: true});"
    )
    page.goto(url)
    page.wait_for_function("() => window.filled !== undefined")
    return page.evaluate("window.filled")
