"""Somebody before Chromium, who notices everything that the browser complains of."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, ConsoleMessage, JSHandle, Locator, Page

from tests.labelstudio.page import CHROMIUM

BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no {CHROMIUM}; run make test-browser"),
    # Playwright's own event loop, which its synchronous side leaves to the collector.
    pytest.mark.filterwarnings("ignore:unclosed event loop:ResourceWarning"),
]
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1200, "height": 800}
WAIT_MS = 30_000
_AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
_AXE_RUN = """() => axe.run(document, {
  runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], resultTypes: ["violations"],
})"""
_HEAR = """document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));"""
_FILES = """(files) => {
  const data = new DataTransfer();
  for (const { name, type, body } of files) {
    const bytes = Uint8Array.from(atob(body), (letter) => letter.charCodeAt(0));
    data.items.add(new File([bytes], name, { type }));
  }
  return data;
}"""
# Pictures are not counted: how many there are is the visitor's own matter.
_WEIGHT = """() => {
  const [page] = performance.getEntriesByType("navigation");
  const files = performance.getEntriesByType("resource");
  return files.filter((file) => file.initiatorType !== "img")
    .reduce((sum, file) => sum + file.transferSize, page.transferSize);
}"""


class Visitor:
    """One person's browser window.

    session: cookies of somebody who has logged in; None: an outsider.
    """

    def __init__(self, browser: Browser, url: str, session: Any = None) -> None:
        self.url = url
        self.context = browser.new_context(
            viewport=DESK, storage_state=session, base_url=url, color_scheme="light"
        )
        self.context.add_init_script(_HEAR)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.complaints: list[str] = []
        self._expected: set[int] = set()
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda err: self.complaints.append(f"page: {err}"))

    def go(self, path: str) -> Page:
        self.page.goto(path)
        return self.page

    def expects(self, *statuses: int) -> None:
        """Let the browser complain of these: a request that a test wants refused."""
        self._expected.update(statuses)

    def leave(self) -> None:
        """Close the window; it has complained of nothing."""
        self.context.close()
        assert self.complaints == []

    def log_in(self, role: str) -> Any:
        """Log in by the page; return what a later visitor can have as its session."""
        self.go("/login")
        self.page.get_by_label("Your name").fill(f"{role} of a test")
        self.page.get_by_role("button", name=f"As a{'n' * (role == 'operator')} {role}").click()
        self.page.get_by_role("button", name="Log out").wait_for()
        return self.context.storage_state()

    def files(self, files: Mapping[str, bytes], kind: str = "image/png") -> JSHandle:
        """Return a DataTransfer with files, as a drop or a paste has one."""
        told = [
            {"name": name, "type": kind, "body": base64.b64encode(data).decode()}
            for name, data in files.items()
        ]
        return self.page.evaluate_handle(_FILES, told)

    def tab_to(self, target: Locator, most: int = 60) -> None:
        """Reach an element by the keyboard alone."""
        for _ in range(most):
            self.page.keyboard.press("Tab")
            if target.evaluate("(element) => element === document.activeElement"):
                return
        raise AssertionError(f"{target} is not reached by {most} tabs")

    def weight(self) -> int:
        """Return the bytes that this page's first visit took, pictures left out."""
        return int(self.page.evaluate(_WEIGHT))

    def flaws(self) -> list[str]:
        """Return what axe-core finds, and what does not fit, in every look of this page."""
        self.page.evaluate(_AXE)
        found = []
        for scheme in ("light", "dark"):
            self.page.emulate_media(color_scheme=scheme)
            found += [f"{scheme}: {flaw}" for flaw in self._barriers()]
        self.page.set_viewport_size(PHONE)
        found += [f"phone: {flaw}" for flaw in self._barriers()]
        width = self.page.evaluate("() => document.documentElement.scrollWidth")
        found += [f"phone: {width} pixels wide"] if width > PHONE["width"] else []
        self.page.set_viewport_size(DESK)
        self.page.emulate_media(color_scheme="light")
        return found

    def _barriers(self) -> list[str]:
        found = self.page.evaluate(_AXE_RUN)["violations"]
        return [f"{one['id']}: {node['target']}" for one in found for node in one["nodes"]]

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        text = message.text
        if any(f"responded with a status of {status} " in text for status in self._expected):
            return
        self.complaints.append(f"{message.type}: {text} ({message.location.get('url')})")
