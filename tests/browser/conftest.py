"""A real browser for the tests of this folder: a headless Chromium that is installed on the machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from commands import Program, serving
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",  # macOS: on no PATH
)
ARGUMENTS = ["--no-first-run", "--disable-background-networking", "--disable-gpu", "--disable-dev-shm-usage"]
TIMEOUT_MS = 30_000


# Of each module and not of the session: while it lives, no other test could run an event loop in this thread.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser. Without one the tests are skipped, except in CI (``CI=true``), where they fail."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        problem = f"no browser: none of these is installed: {', '.join(NAMES)}"
        if os.environ.get("CI", "").lower() in ("true", "1"):
            pytest.fail(problem)
        pytest.skip(problem)
    with sync_playwright() as playwright:
        # Chromium's own sandbox needs user namespaces, which containers and CI machines tend to lack.
        launched = playwright.chromium.launch(executable_path=path, args=ARGUMENTS, chromium_sandbox=False)
        yield launched
        launched.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A profile of its own, in which every failed wait says so after half a minute."""
    made = browser.new_context()
    made.set_default_timeout(TIMEOUT_MS)
    yield made
    made.close()


@pytest.fixture
def tab(context: BrowserContext) -> Iterator[Page]:
    """A tab; errors that no script catches, or that the page's security policy causes, fail the test."""
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "console",
        lambda message: problems.append(message.text) if "Content Security" in message.text else None,
    )
    yield page
    assert problems == []


@pytest.fixture
def server() -> Iterator[tuple[Program, str]]:
    """``everwire serve`` for one test, which may stop it, and its address."""
    with serving() as found:
        yield found


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of the page, on a server for all tests of a file that leave it running."""
    with serving() as (_, address):
        yield address + "/"
