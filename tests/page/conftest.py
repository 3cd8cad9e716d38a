"""A browser for the page: Debian's Chromium, driven by Playwright."""

import importlib.util
import shutil

import pytest

from tests.absent import skip
from tests.page.stage import Stage

CURE = "the page's tests need the program chromium (apt-get install chromium) and the package playwright"
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


def require():
    """Skip a test where there is no browser; in CI that is a failure."""
    if shutil.which("chromium") is None or importlib.util.find_spec("playwright") is None:
        skip(CURE)


@pytest.fixture(scope="module")
def browser():
    require()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def visit(browser):
    """
    Open a page as `visit(url, color_scheme="dark")`; at the end no script may have failed or been refused.

    Requests that fail are no fault of the page: tests take its worker away.
    """
    contexts, wrong = [], []

    def note(message):
        if message.type in {"error", "warning"} and "Failed to load resource" not in message.text:
            wrong.append(message.text)

    def open_(url, **options):
        context = browser.new_context(**{"viewport": DESK, "timezone_id": "UTC", **options})
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", note)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(url)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert [] == wrong


@pytest.fixture
def stage():
    with Stage() as stage:
        yield stage
