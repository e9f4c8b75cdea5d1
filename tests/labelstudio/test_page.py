"""What people see: Label Studio's own page in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.labelstudio.desk import Desk
from tests.labelstudio.page import CHROMIUM, LabelPage, chromium
from tests.labelstudio.world import OWNER, PASSWORD

pytestmark = [
    pytest.mark.labelstudio,
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no {CHROMIUM}; run make test-browser"),
    # Playwright's own event loop, which its synchronous side leaves to the collector.
    pytest.mark.filterwarnings("ignore:unclosed event loop:ResourceWarning"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def picture(request: pytest.FixtureRequest) -> Path | None:
    """Return where pictures for the documentation go, None where none are wanted."""
    folder = request.config.getoption("screenshots")
    return Path(folder) if folder else None


def test_a_person_sees_the_suggestion_corrects_it_and_s3_has_the_answer(
    desk: Desk, browser: Browser, picture: Path | None
) -> None:
    desk.put(3, noise=60)
    assert desk.sync().problems == {}
    least = min(desk.predictions().values(), key=lambda p: float(p["score"]))
    suggested = least["result"][0]["value"]["choices"][0]
    page = LabelPage(browser, desk.server.url, OWNER, PASSWORD)
    page.open_next(desk.project)
    assert page.choices() == [suggested]
    page.picture(picture, "suggestion.jpg")
    right = "green" if suggested != "green" else "red"
    page.choose(right)
    page.submit()
    (task,) = [task for task in desk.tasks() if task["total_annotations"]]
    assert task["id"] == least["task"]
    body = desk.annotation(int(task["annotations_ids"]))
    assert body is not None
    assert body["task"]["data"]["image"].startswith(f"s3://capture/{desk.name}/review/images/")
    (result,) = body["result"]
    assert result["value"]["choices"] == [right]
    assert result["origin"] == "prediction-changed"
    assert body["parent_prediction"] == least["id"]
    desk.sync()
    assert list(desk.labels().values()) == [right]


def test_a_measured_image_shows_nothing_before_the_person_has_chosen(
    desk: Desk, browser: Browser, picture: Path | None
) -> None:
    desk.put(2)
    (audit,) = desk.put(1, noise=220, is_audit=True)
    assert desk.sync().problems == {}
    page = LabelPage(browser, desk.server.url, OWNER, PASSWORD)
    page.open_next(desk.project)  # the least sure
    assert page.choices() == []
    page.picture(picture, "blind.jpg")
    page.choose("green")
    page.submit()
    (task,) = [task for task in desk.tasks() if task["total_annotations"]]
    assert task["id"] == desk.task_of(audit)
    body = desk.annotation(int(task["annotations_ids"]))
    assert body is not None
    assert body["result"][0]["origin"] == "manual"
    assert body["parent_prediction"] == desk.predictions()[task["id"]]["id"]  # and yet


def test_the_list_of_tasks_shows_people_the_image_and_nothing_of_its_answer(
    desk: Desk, browser: Browser, picture: Path | None
) -> None:
    desk.put(4, is_audit=True)
    assert desk.sync().problems == {}
    page = LabelPage(browser, desk.server.url, OWNER, PASSWORD)
    text = page.open_list(desk.project)
    page.picture(picture, "tasks.jpg")
    assert "image" in text
    told = set(re.findall(r"[a-z_]+", text.lower()))
    assert not told & {"blue", "green", "red", "sampled", "confidence", "audit"}
