"""Every page in every state and look: no barrier, no complaint of the browser, little weight."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.web.conftest import Enter, Watched
from tests.web.visitor import BROWSER
from tests.web.world import World

pytestmark = BROWSER
MOST_BYTES = 100_000
PAGES = (
    "/",
    "/operator",
    "/operator/runs",
    "/operator/runs/new",
    "/operator/models",
    "/operator/live",
    "/operator/labelling",
    "/operator/parameters",
    "/operator/data",
    "/operator/datasets",
    "/operator/audit",
)
FILLED = (
    *PAGES,
    "/operator/runs/{run}",
    "/operator/runs/{run}/steps/Train",
    "/operator/models/1",
    "/operator/models/2",
)
# What a page says before there is anything to show, and how to get it.
EMPTY = {
    "/operator": "nothing yet",
    "/operator/runs": "there is no pipeline colours yet",
    "/operator/runs/new": "there is no pipeline colours yet",
    "/operator/models": "There is no model yet.",
    "/operator/live": "Nothing was reported in this time.",
    "/operator/labelling": "The queue is empty.",
    "/operator/data": "There is no data report yet.",
    "/operator/audit": "Nothing is written down yet.",
}


@pytest.mark.parametrize("path", FILLED)
def test_a_page_is_light_and_without_barriers(
    enter: Enter, world: World, watched: Watched, path: str
) -> None:
    visitor = enter(world, "operator")
    visitor.go(path.format(run=watched.run))
    visitor.page.wait_for_load_state("load")
    assert visitor.weight() < MOST_BYTES
    assert visitor.flaws() == []


@pytest.mark.parametrize("path", PAGES)
def test_a_page_without_anything_to_show_says_what_will_appear_and_how(
    enter: Enter, bare: World, path: str
) -> None:
    visitor = enter(bare, "operator")
    page = visitor.go(path)
    expect(page.get_by_role("main")).to_contain_text(EMPTY.get(path, ""), ignore_case=True)
    assert visitor.flaws() == []


def test_the_login_is_light_and_without_barriers(enter: Enter, world: World) -> None:
    visitor = enter(world)
    visitor.go("/login")
    assert visitor.weight() < MOST_BYTES
    assert visitor.flaws() == []


@pytest.mark.parametrize(
    ("role", "path", "status"),
    [
        ("operator", "/operator/models/99", 404),
        ("operator", "/operator/runs/0123456789ab", 404),
        ("operator", "/nowhere", 404),
        ("consumer", "/operator/models", 403),
    ],
)
def test_a_page_that_is_refused_is_told_in_words(
    enter: Enter, world: World, role: str, path: str, status: int
) -> None:
    visitor = enter(world, role)
    visitor.expects(status)
    answer = visitor.page.goto(path)
    assert answer is not None
    assert answer.status == status
    assert len(visitor.page.get_by_role("main").inner_text()) > 20
    assert visitor.flaws() == []
