"""Label Studio's page as a person sees it, in Debian's Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
_VIEW = {"width": 1100, "height": 760}
_WAIT_MS = 30_000


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser; without a sandbox, which a container's root cannot make."""
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class LabelPage:
    """One person's page, logged in."""

    def __init__(self, browser: Browser, url: str, user: str, password: str) -> None:
        self._url = url
        self.page: Page = browser.new_context(viewport=_VIEW).new_page()
        self.page.set_default_timeout(_WAIT_MS)
        self.page.goto(f"{url}/user/login/")
        self.page.fill("input[name=email]", user)
        self.page.fill("input[name=password]", password)
        self.page.click("button[type=submit]")
        self.page.wait_for_url(lambda address: "/login" not in address)

    def open_next(self, project: int) -> None:
        """Open the task that Label Studio has chosen to be labelled next.

        By the button: the address that it leads to, opened by hand, serves tasks by number.
        """
        self.page.goto(f"{self._url}/projects/{project}/data")
        self.page.get_by_text("Label All Tasks").first.click()
        self._await_task()

    def open_list(self, project: int) -> str:
        """Open the data manager; return all that it says."""
        self.page.goto(f"{self._url}/projects/{project}/data")
        self.page.get_by_text("Label All Tasks").first.wait_for()
        self.page.wait_for_load_state("networkidle")
        return self.page.inner_text("body")

    def picture(self, folder: Path | None, name: str) -> None:
        """Write a picture for the documentation, where a folder is given."""
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=folder / name, type="jpeg", quality=70)

    def open_task(self, project: int, task: int) -> None:
        self.page.goto(f"{self._url}/projects/{project}/data?task={task}")
        self._await_task()

    def choices(self) -> list[str]:
        """Return the labels that are ticked."""
        return [
            box.get_attribute("name") or ""
            for box in self.page.locator(".lsf-choice__item input").all()
            if box.is_checked()
        ]

    def choose(self, label: str) -> None:
        self.page.locator(f".lsf-choice__item input[name={label}]").click()

    def submit(self) -> None:
        """Submit, or update what was submitted before, and wait for Label Studio's answer."""
        with self.page.expect_response(
            lambda r: "/annotations" in r.url and r.request.method in ("POST", "PATCH")
        ) as answered:
            self.page.locator("[data-testid$=submit-button], [data-testid$=update-button]").click()
        assert answered.value.ok, answered.value.text()

    def skip(self) -> None:
        with self.page.expect_response(
            lambda r: "/annotations" in r.url and r.request.method in ("POST", "PATCH")
        ):
            self.page.locator("[data-testid$=skip-button]").click()

    def _await_task(self) -> None:
        self.page.locator(".lsf-choice__item").first.wait_for()
        self.page.locator("[data-testid$=submit-button], [data-testid$=update-button]").wait_for()
        self.page.wait_for_load_state("networkidle")  # the picture
