"""A real Chromium that visits pages, and holds against them what a console or a policy complains of."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# Before the suite takes `CI` out of its environment: there a missing browser is a failure, elsewhere a skip.
IN_CI = os.environ.get("CI", "").lower() in ("1", "true")
CHROMIUM = next(
    filter(
        None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome"))
    ),
    None,
)
# Root, as in a container, has none.
SANDBOX = ["--no-sandbox"] if sys.platform == "linux" and os.geteuid() == 0 else []
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None and not IN_CI, reason="no Chromium on PATH: apt-get install chromium"
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser."""
    from playwright.sync_api import sync_playwright

    assert CHROMIUM, "no Chromium on PATH: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SANDBOX)
        yield browser
        browser.close()


def until(page: Page, expression: str) -> None:
    """Wait until something is true in a page, whose policy keeps it from evaluating that by itself."""
    from playwright.sync_api import Error

    end, said = time.monotonic() + 30, None
    while not said:
        assert time.monotonic() < end, f"not true after 30 s: {expression}"
        try:
            said = page.evaluate(expression)
        except Error as error:
            if "context was destroyed" not in str(error):  # as it goes on to the next page
                raise
        page.wait_for_timeout(20)


class Visitor:
    """A person with a browser of some size.

    Attributes:
        complaints: what the console says, what scripts raise, what policies keep out; empty for good pages.
        strangers: addresses outside of the site that a page asks for.
    """

    def __init__(self, browser: Browser, site: str, **how: Any) -> None:
        self.site = site.rstrip("/") + "/"
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **how})
        self.context.set_default_timeout(30_000)
        self.complaints: list[str] = []
        self.strangers: list[str] = []
        self.page: Page = self.context.new_page()
        self.page.on("console", lambda said: self.complaints.append(f"{said.type}: {said.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda asked: self._asked(asked.url))

    def _asked(self, url: str) -> None:
        if not url.startswith((self.site, "about:", "data:")):
            self.strangers.append(url)

    def go(self, path: str = "index.html") -> Page:
        """Visit a page of the site, from anywhere."""
        self.page.goto("about:blank")  # or else a new fragment would not be a visit
        self.page.goto(self.site + path)
        self.page.wait_for_load_state("load")
        if path.startswith("version.html"):
            self.page.wait_for_selector("#version:not([aria-busy])")
        return self.page

    def rows(self) -> list[str]:
        """The models that the registry's table shows."""
        return self.page.locator("#models tbody th a").all_inner_texts()

    def fits(self) -> bool:
        """Whether the page is not wider than the screen."""
        return bool(
            self.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        )


def as_site(folder: Path) -> str:
    """The address of a folder that a site was built into."""
    return folder.as_uri()
