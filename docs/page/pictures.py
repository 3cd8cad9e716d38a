"""
`make pictures`: photograph the page in each of its states, light, dark and on a phone, into docs/page/.

The worker is a stand-in that says what tests/page/documents.py has made up.  Time stands still there, so that the same
page gives the same pictures.
"""

import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.page.documents import Story, calm, crowded, troubled
from tests.page.stage import Stage

FOLDER = Path(__file__).parent
NOW = datetime(2026, 11, 29, 15, 0, tzinfo=UTC).timestamp()
DESK, PHONE = {"width": 1180, "height": 820}, {"width": 390, "height": 844}


def nothing(now: float) -> Story:
    """A worker without a connector."""
    return Story(now)


def quiet(now: float) -> Story:
    """Two connectors that bring no post: one is heard."""
    story = Story(now).connector("quiet", per_second=0.0).connector("stalled", per_second=0.0, behind_secs=94.0)
    story.gap("stalled", 79, 79, "open", "silent", goes_on=True, can_accept=False, doing="Nobody listens at present.")
    text = "stalled: nothing has been heard from X for 94 s."
    return story.says("warning", text, connector="stalled", next="It connects again by itself.", problems=1)


def lost(stage: Stage, page: Page) -> None:
    stage.vanish()
    page.wait_for_selector("body[data-phase=lost]")


def frozen(_: Stage, page: Page) -> None:
    page.get_by_role("button", name="Freeze").click()


def stopping(_: Stage, page: Page) -> None:
    page.locator("#connector-rows button", has_text="Stop").first.click()


def editing(_: Stage, page: Page) -> None:
    page.locator("#connector-rows button", has_text="Edit").first.click()
    page.get_by_label("budget.usd.per.month", exact=True).fill("a lot")
    page.locator("dialog [aria-invalid=true]").wait_for()


def gaps(_: Stage, page: Page) -> None:
    page.get_by_role("listbox", name="posts:").focus()
    page.keyboard.press("Home")
    page.locator("#coverage").evaluate("element => scrollTo(0, element.offsetTop - 70)")


def at(part: str) -> Callable[[Stage, Page], None]:
    """Return what brings the *part* of the page into sight."""
    script = "element => scrollTo(0, element.offsetTop - 70)"
    return lambda _, page: page.locator(f"#{part}").evaluate(script)


def week(_: Stage, page: Page) -> None:
    page.get_by_role("radio", name="7 d").check()
    page.wait_for_timeout(500)


def nobody(*_: object) -> None:
    """Do nothing: the worker has not answered, or there is nothing to do."""


PICTURES: dict[str, tuple[Callable[[float], Story] | None, Callable[[Stage, Page], None], dict[str, Any]]] = {
    "loading": (None, nobody, {}),
    "nothing-yet": (nothing, nobody, {}),
    "live": (calm, nobody, {}),
    "live-dark": (calm, nobody, {"color_scheme": "dark"}),
    "live-phone": (calm, nobody, {"viewport": PHONE, "is_mobile": True, "has_touch": True}),
    "trouble": (troubled, nobody, {}),
    "trouble-dark": (troubled, nobody, {"color_scheme": "dark"}),
    "trouble-phone": (troubled, nobody, {"viewport": PHONE, "is_mobile": True, "has_touch": True}),
    "gaps": (troubled, gaps, {}),
    "money-and-rules": (troubled, at("money"), {}),
    "work": (troubled, at("work"), {"color_scheme": "dark"}),
    "frozen": (calm, frozen, {}),
    "stream-lost": (calm, lost, {}),
    "idle-and-stalled": (quiet, nobody, {}),
    "stopping": (calm, stopping, {}),
    "editing": (calm, editing, {}),
    "crowded": (crowded, week, {}),
}


def photograph(browser: Browser, name: str) -> None:
    """Write the picture *name*."""
    story, act, options = PICTURES[name]
    with Stage() as stage:
        stage.document = None if story is None else story(NOW).document()
        options = {"viewport": DESK, "timezone_id": "UTC", "reduced_motion": "reduce", **options}
        context = browser.new_context(**options)
        page = context.new_page()
        page.clock.set_fixed_time(datetime.fromtimestamp(NOW, UTC))
        page.goto(stage.url)
        page.wait_for_selector(f"body[data-phase={'loading' if story is None else 'live'}]")
        page.wait_for_timeout(300)  # the plots are drawn
        act(stage, page)
        page.wait_for_timeout(200)
        page.screenshot(path=FOLDER / f"{name}.png")
        context.close()


def main() -> int:
    """Write all pictures, or those that the command line names; return the exit code."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.stderr.write("No pictures: there is no program chromium (apt-get install chromium).\n")
        return 1
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name in sys.argv[1:] or PICTURES:
            photograph(browser, name)
            sys.stdout.write(f"docs/page/{name}.png: {(FOLDER / f'{name}.png').stat().st_size:,} bytes\n")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
