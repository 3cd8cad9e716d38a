"""What a person does on the page reaches the worker's routes, and what the worker answers is shown."""

import time

import pytest

from connector.cluster.refused import Conflicting
from connector.web.connect.ports import TargetState
from tests.page.documents import iso, troubled
from tests.page.test_states import shown, text

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

LOST_FROM = 1_793_536_500.0
"""When the only gap that the routes of the stage know begins."""


@pytest.fixture
def page(stage, visit):
    return shown(stage, visit, troubled(time.time()))


def row(page, connector):
    return page.locator("#connector-rows tr", has=page.get_by_role("button", name=f"Edit {connector}"))


@pytest.mark.parametrize(("verb", "state"), [("Stop", TargetState.STOPPED), ("Pause", TargetState.PAUSED)])
def test_two_clicks(page, stage, verb, state):
    """The first opens a question that says what follows, the second does it."""
    row(page, "posts").get_by_role("button", name=verb).click()
    assert TargetState.RUNNING == stage.connectors.connectors["posts"].state
    assert "is a gap" in text(page, "dialog")
    page.get_by_role("dialog").get_by_role("button", name=verb).click()
    page.get_by_text("was asked for").wait_for()

    assert state == stage.connectors.connectors["posts"].state
    assert page.locator("dialog").is_hidden()


def test_what_pauses_by_itself_is_not_resumed(stage, visit):
    """A spent budget is no pause that somebody made: the button would do nothing."""
    document = troubled(time.time())
    document.connectors["archive"]["detail"] = "BudgetReached: 40 of 40 posts; it goes on at midnight UTC"
    buttons = [each.inner_text() for each in row(shown(stage, visit, document), "archive").get_by_role("button").all()]

    assert "Resume" not in buttons
    assert {"Restart", "Stop"} <= set(buttons)


def test_what_somebody_paused_is_resumed(page):
    """It says no reason of its own."""
    buttons = [each.inner_text() for each in row(page, "archive").get_by_role("button").all()]

    assert "Resume" in buttons


def test_a_question_can_be_left(page, stage):
    """By the button and by Escape; nothing is done, and the focus is where it was."""
    button = row(page, "posts").get_by_role("button", name="Stop")
    for leave in (lambda: page.get_by_role("button", name="Cancel").click(), lambda: page.keyboard.press("Escape")):
        button.click()
        leave()
        assert page.locator("dialog").is_hidden()
        assert button.evaluate("element => element === document.activeElement")

    assert TargetState.RUNNING == stage.connectors.connectors["posts"].state


def test_a_refusal_is_shown(page, stage, monkeypatch):
    """In the worker's words, with the question still open."""

    async def refuse(name, state):
        raise Conflicting("Another change of posts came first.")

    monkeypatch.setattr(stage.connectors, "set_state", refuse)
    row(page, "posts").get_by_role("button", name="Pause").click()
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    page.get_by_role("alert").get_by_text("Another change of posts came first.").wait_for()

    assert page.get_by_role("dialog").get_by_role("button", name="Pause").is_enabled()


def test_a_worker_that_is_gone(page, stage):
    """It is not said that something was done, or was not."""
    row(page, "posts").get_by_role("button", name="Stop").click()
    page.route("**/connectors/**", lambda route: route.abort())
    page.get_by_role("dialog").get_by_role("button", name="Stop").click()

    page.get_by_text("it is not known whether this was done").wait_for()


@pytest.mark.parametrize(("verb", "action"), [("Retry", "retry"), ("Accept", "accept")])
def test_orders_about_a_gap(stage, visit, verb, action):
    """With what it may cost, and for the gap that was chosen alone."""
    now = LOST_FROM + 2000
    story = troubled(now)
    story.connectors["posts"]["gaps"] = []
    story.gap("posts", 2000, 1.5, "lost", "budget")
    assert iso(LOST_FROM) == story.connectors["posts"]["gaps"][0]["from"]
    page = shown(stage, visit, story)
    page.locator("#gap-rows").get_by_role("button", name=verb).first.click()
    if verb == "Retry":
        assert "cost $0.03" in text(page, "dialog")
    page.get_by_role("dialog").get_by_role("button", name=verb).click()
    page.get_by_text(f"{action} was asked for").wait_for()

    assert [(action, int(LOST_FROM * 1000))] == [(order.action.value, order.from_ms) for order in stage.orders]


def test_rules_are_compared_and_applied(page, stage):
    """The difference to what X holds stands in the question; then the worker is asked, and X until it holds them."""
    row(page, "posts").get_by_role("button", name="Rules of posts").click()
    page.get_by_role("dialog").get_by_role("button", name="Apply").wait_for()
    asked = text(page, "dialog")
    for words in (
        "1 added:",
        "#starling",
        "1 deleted:",
        "#old",
        "#owl",
        "3 stay as they are",
        "2 at X are not of",
        "As X told it at",
    ):
        assert words in asked
    assert [] == stage.rules.applied
    page.get_by_role("dialog").get_by_role("button", name="Apply").click()
    page.get_by_text("X holds the rules of posts: 1 added, 1 deleted.").wait_for()

    assert ["posts"] == stage.rules.applied


def test_rules_that_are_right(page, stage):
    """There is nothing to apply."""
    stage.rules.applied.append("posts")
    row(page, "posts").get_by_role("button", name="Rules of posts").click()
    page.get_by_text("nothing has to be changed").wait_for()

    assert ["Close"] == page.get_by_role("dialog").get_by_role("button").all_inner_texts()


def test_rules_that_cannot_be_applied(page, stage):
    """The worker's sentence says why, and there is no button that would do nothing."""
    stage.rules.objection = "posts is PAUSED, so X holds no rule of it: they are put in force when it is resumed."
    row(page, "posts").get_by_role("button", name="Rules of posts").click()
    page.get_by_text("they are put in force when it is resumed").wait_for()

    assert 0 == page.get_by_role("dialog").get_by_role("button", name="Apply").count()


def test_rules_that_x_does_not_tell(page):
    """Whatever the worker answers is shown; a dialog that was closed does not come back."""
    page.route("**/rules?connector=*", lambda route: route.fulfill(status=503, json={"message": "X is silent."}))
    button = row(page, "posts").get_by_role("button", name="Rules of posts")
    button.click()
    page.get_by_role("alert").get_by_text("X is silent.").wait_for()
    page.unroute("**/rules?connector=*")
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    page.route("**/rules?connector=*", lambda route: (time.sleep(0.5), route.continue_()))
    button.click()
    page.keyboard.press("Escape")
    page.wait_for_timeout(1500)

    assert page.locator("dialog").is_hidden()


def edit(page):
    row(page, "posts").get_by_role("button", name="Edit").click()
    page.get_by_text("0 changes; the configuration is valid.").wait_for()


def test_a_configuration_is_validated_as_it_is_typed(page, stage):
    """The worker's sentence stands below the option; what is wrong cannot be applied."""
    edit(page)
    page.get_by_label("topic", exact=True).fill("no topic/at all")
    page.locator("#option-topic[aria-invalid=true]").wait_for()
    assert "topic" in text(page, "[id='option-topic-error']")
    assert page.get_by_role("button", name="Review").is_disabled()

    page.get_by_label("topic", exact=True).fill("other-posts")
    page.get_by_text("1 change; the configuration is valid.").wait_for()
    assert page.get_by_role("button", name="Review").is_enabled()
    assert "posts" == stage.connectors.connectors["posts"].config["topic"]


def test_a_configuration_is_reviewed_and_applied(page, stage):
    """Only what was changed is sent: an option that is emptied is removed, and a secret stays."""
    before = dict(stage.connectors.connectors["posts"].config)
    edit(page)
    page.get_by_label("hashtags", exact=True).fill("starling")
    page.get_by_label("budget.usd.per.month", exact=True).fill("")
    page.get_by_text("2 changes; the configuration is valid.").wait_for()
    page.get_by_role("button", name="Review").click()
    assert ["murmuration, starling", "starling"] == page.locator("dialog tr:has-text('hashtags') td").all_inner_texts()
    page.get_by_role("button", name="Apply").click()
    page.get_by_text("has its new configuration").wait_for()

    expected = {**before, "hashtags": "starling"}
    del expected["budget.usd.per.month"]
    assert expected == stage.connectors.connectors["posts"].config


def test_options_are_found(page):
    """Those that are set are listed; others by words, or all."""
    edit(page)
    rows = page.locator("dialog .option")
    few = rows.count()
    page.get_by_label("Find", exact=True).last.fill("settle")
    page.get_by_label("settle.secs", exact=True).wait_for()
    page.get_by_label("Find", exact=True).last.fill("")
    page.get_by_label("all options").check()
    page.get_by_label("poll.interval.ms", exact=True).wait_for()

    assert rows.count() > few + 20
