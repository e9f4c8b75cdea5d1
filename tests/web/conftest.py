"""One machine with its pages for all browser tests, one without anything, and their visitors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.labelstudio.page import chromium
from tests.web.visitor import Visitor
from tests.web.world import QUICK, World, furnish, shown

Enter = Callable[..., Visitor]
PATIENCE_MS = 15_000  # of a machine that trains meanwhile
RUN_PAGE = re.compile(r"/operator/runs/[0-9a-f]{12}$")
# Notes what the page shows of a run, as it changes.
_NOTE = """() => {
  window.noted = { done: [], announced: [] };
  const note = () => {
    const label = document.querySelector("#progress label.progress");
    const said = document.getElementById("run-status").textContent;
    const done = label && parseInt(label.textContent);
    if (label && window.noted.done.at(-1) !== done) window.noted.done.push(done);
    if (said && window.noted.announced.at(-1) !== said) window.noted.announced.push(said);
  };
  note();
  new MutationObserver(note).observe(document.body, { childList: true, subtree: true });
}"""


@dataclass(frozen=True)
class Watched:
    """A run that somebody started from the form and watched to its end.

    What the page showed is noted in the page itself: loaded anew, it has none.
    """

    run: str
    steps_done: list[int]
    announced: list[str]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A machine whose first model serves."""
    home = tmp_path_factory.mktemp("world")
    furnish(home)
    with shown(home) as world:
        world.await_model()
        yield world


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A machine on which nothing has happened yet."""
    with shown(tmp_path_factory.mktemp("bare")) as world:
        yield world


@pytest.fixture(scope="session")
def sessions(browser: Browser) -> Callable[[World, str], Any]:
    """Return what logs somebody in, once a machine and role."""
    known: dict[tuple[str, str], Any] = {}

    def session(world: World, role: str) -> Any:
        if (world.url, role) not in known:
            visitor = Visitor(browser, world.url)
            known[world.url, role] = visitor.log_in(role)
            visitor.leave()
        return known[world.url, role]

    return session


@pytest.fixture
def enter(browser: Browser, sessions: Callable[[World, str], Any]) -> Iterator[Enter]:
    """Return what opens a window for somebody; in the end none may have complained."""
    visitors: list[Visitor] = []

    def enter(world: World, role: str = "") -> Visitor:
        session = sessions(world, role) if role else None
        visitors.append(Visitor(browser, world.url, session))
        return visitors[-1]

    yield enter
    for visitor in visitors:
        visitor.leave()


@pytest.fixture
def consumer(enter: Enter, world: World, begun: Visitor) -> Visitor:
    return enter(world, "consumer")


@pytest.fixture
def operator(enter: Enter, world: World, begun: Visitor) -> Visitor:
    return enter(world, "operator")


@pytest.fixture(scope="session")
def begun(
    browser: Browser, world: World, sessions: Callable[[World, str], Any]
) -> Iterator[Visitor]:
    """An operator who has started a quick run; it goes on while other tests look elsewhere."""
    visitor = Visitor(browser, world.url, sessions(world, "operator"))
    page = visitor.go("/operator/runs/new")
    fill_in(page, world, **QUICK)
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(RUN_PAGE)
    page.evaluate(_NOTE)
    yield visitor
    visitor.leave()


@pytest.fixture(scope="session")
def watched(begun: Visitor) -> Watched:
    """The quick run, which has made version 2."""
    page = begun.page
    expect(page.locator("#progress .state").first).to_contain_text("succeeded", timeout=120_000)
    noted = page.evaluate("() => window.noted") or {"done": [], "announced": []}
    return Watched(page.url.rpartition("/")[2], noted["done"], noted["announced"])


def fill_in(page: Page, world: World, **values: str) -> None:
    """Fill the form that starts a run."""
    for name, value in {"TrainDataset": str(world.archive), **values}.items():
        page.locator(f"[name='parameters.{name}']").fill(value)


@pytest.fixture(scope="session")
def picture_folder(request: pytest.FixtureRequest) -> Path | None:
    """Return where pictures for the documentation go, None where none are wanted."""
    folder = request.config.getoption("screenshots")
    return Path(folder) if folder else None
