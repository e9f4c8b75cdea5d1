"""The pictures of the documentation, taken anew: make screenshots.

A world of its own: models that have learned something, of the sample that `make run` trains on.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from playwright.sync_api import Browser, FilePayload, Page, expect

from ci.packages import newest_approved
from ci.tests.live import wait_until
from shared.pipeline.settings import Settings
from shared.vision.bundle import open_bundle
from shared.vision.golden import read_golden
from tests.web.conftest import RUN_PAGE
from tests.web.visitor import BROWSER, PHONE, Visitor
from tests.web.world import World, pipeline, shown

pytestmark = BROWSER
GROUP = "scenes"
MOST_BYTES = 150_000
VIEW = {"width": 1200, "height": 900}
LONG_VIEW = {"width": 1200, "height": 1250}  # down to where the champion stands beside it
# A random start on little data: what `make run` passes, and a first model that saw less of it.
LEARNING = {
    "PretrainedWeights": "none",
    "LearningRate": "0.006",
    "MinAccuracy": "0.3",
    "MinMacroF1": "0.3",
    "MinClassRecall": "0",
}
COMPACT = (",", ":")  # as the endpoint writes it
COUNTS = ("Requests", "Images", "RequestsByStatus", "Predictions")
MINUTES = 50  # of traffic that the live page shows
TRAINED_MS = 600_000
TESTED_S = 150.0  # a drift test a minute, where there are images enough
IMAGES = 180  # more than three windows of a drift test
UNTRAINED = "*/scenes/*/FetchData/raw/test/*/*.jpg"


@pytest.fixture(scope="module")
def folder(picture_folder: Path | None) -> Path:
    if picture_folder is None:
        pytest.skip("no pictures are wanted; run make screenshots")
    picture_folder.mkdir(parents=True, exist_ok=True)
    return picture_folder


@pytest.fixture(scope="module")
def scenes(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A machine on which a first model of the sample was trained and approved."""
    home = tmp_path_factory.mktemp("scenes")
    values = LEARNING | {"Epochs": "10"}
    words = [word for name, value in values.items() for word in ("-p", f"{name}={value}")]
    pipeline(home, "--upsert", "--start", "--name", GROUP, *words)
    (package,) = json.loads((home / "registry.json").read_text())
    pipeline(home, "--approve", package["ModelPackageArn"])
    with shown(home, GROUP) as world:
        world.await_model()
        yield world


@pytest.fixture(scope="module")
def operator(
    browser: Browser, scenes: World, sessions: Callable[[World, str], Any]
) -> Iterator[Visitor]:
    visitor = Visitor(browser, scenes.url, sessions(scenes, "operator"))
    visitor.page.set_viewport_size(VIEW)
    yield visitor
    visitor.leave()


@pytest.fixture(scope="module")
def challenger(operator: Visitor, scenes: World, folder: Path) -> int:
    """Train version 2 from the form; take the picture of a run while it trains."""
    page = operator.go("/operator/runs/new")
    # The form begins with what the first was told, which would come from the cache.
    for name, value in {**LEARNING, "Epochs": "25"}.items():
        page.locator(f"[name='parameters.{name}']").fill(value)
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(RUN_PAGE)
    expect(page.locator("#progress")).to_contain_text("Train runs now", timeout=TRAINED_MS)
    classify(operator, scenes)
    take(page, folder / "run.jpg")
    state = page.locator("#progress .state").first
    expect(state).to_contain_text("succeeded", timeout=TRAINED_MS)
    return 2


@pytest.fixture(scope="module")
def images(scenes: World) -> list[FilePayload]:
    """Return the golden images of what serves: one a class and more."""
    found = newest_approved(Settings(home=scenes.home), GROUP)
    with open_bundle(found.archive) as bundle:
        golden = read_golden(bundle)
    return [
        {"name": f"photo-{number}.png", "mimeType": "image/png", "buffer": image.data}
        for number, image in enumerate(golden, 1)
    ]


def take(page: Page, path: Path) -> None:
    """Write what the window shows."""
    page.screenshot(path=path, type="jpeg", quality=70)
    assert path.stat().st_size < MOST_BYTES, path


def test_pictures_of_classification(
    browser: Browser,
    scenes: World,
    sessions: Callable[[World, str], Any],
    images: list[FilePayload],
    folder: Path,
) -> None:
    visitor = Visitor(browser, scenes.url, sessions(scenes, "consumer"))
    page = visitor.go("/")
    for name, size in (("classify.jpg", VIEW), ("classify-phone.jpg", PHONE)):
        page.set_viewport_size(size)
        page.reload()
        page.set_input_files("#choose", images[:2])
        expect(page.locator(".result")).to_have_count(2)
        card = page.locator(".result").first
        card.get_by_role("button", name="Show where the model looks").click()
        expect(card.locator("canvas")).to_be_visible()
        if name == "classify-phone.jpg":
            card.evaluate("(element) => element.scrollIntoView()")
        take(page, folder / name)
    visitor.leave()


def test_pictures_of_runs(operator: Visitor, challenger: int, folder: Path) -> None:
    page = operator.go("/operator/runs")
    expect(page.get_by_role("row")).to_have_count(3)
    take(page, folder / "runs.jpg")


def test_pictures_of_models(operator: Visitor, challenger: int, folder: Path) -> None:
    page = operator.go("/operator/models")
    expect(page.get_by_role("link", name="Version 2")).to_be_visible()
    take(page, folder / "models.jpg")
    page.set_viewport_size(LONG_VIEW)
    operator.go(f"/operator/models/{challenger}")
    take(page, folder / "model.jpg")
    page.set_viewport_size(VIEW)


def test_picture_of_live_figures(
    operator: Visitor, challenger: int, scenes: World, folder: Path
) -> None:
    """An hour of daylight, and then night falls."""
    page = operator.go("/operator/live?hours=1")
    metrics = scenes.home / "endpoint" / "metrics"
    wait_until(lambda: bool(reported(metrics, "DriftPValue")), TESTED_S)
    wait_until(lambda: sum(reported(metrics, "Requests")) >= IMAGES, TESTED_S)
    extend(metrics)
    tests = len(reported(metrics, "DriftPValue"))
    classify(operator, scenes, light=0.3)
    wait_until(lambda: len(reported(metrics, "DriftPValue")) > tests, TESTED_S)
    page.reload()
    expect(page.get_by_role("row").filter(has_text="drift found")).to_contain_text("yes")
    take(page, folder / "live.jpg")


def test_picture_of_parameters(operator: Visitor, folder: Path) -> None:
    page = operator.go("/operator/parameters")
    take(page, folder / "parameters.jpg")


def classify(operator: Visitor, world: World, light: float = 1.0) -> None:
    """Let the model see images that it was not trained on, in so much light."""
    generator = np.random.default_rng(0)
    files = sorted((world.home / "s3").glob(UNTRAINED))
    session = operator.context.request.get("/api/v1/session").json()
    headers = {"x-csrf-token": session["csrf_token"], "content-type": "image/jpeg"}
    for place in generator.permutation(len(files))[:IMAGES]:
        image = lit(files[place], light)
        answer = operator.context.request.post("/api/v1/predictions", data=image, headers=headers)
        assert answer.ok, answer.text()


def lit(file: Path, light: float) -> bytes:
    if light == 1.0:
        return file.read_bytes()
    stream = io.BytesIO()
    with Image.open(file) as image:
        ImageEnhance.Brightness(image).enhance(light).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def reported(metrics: Path, name: str) -> list[Any]:
    """Return what the endpoint has reported of one metric so far."""
    return [value for line in lines_of(metrics) for value in line.get(name, [])]


def lines_of(metrics: Path) -> list[dict[str, Any]]:
    """Return the whole lines; the endpoint may be writing another."""
    texts = [file.read_text() for file in sorted(metrics.rglob("*.jsonl"))]
    return [json.loads(line) for text in texts for line in text.split("\n")[:-1]]


def extend(metrics: Path) -> None:
    """Let what was measured in a minute stand for an hour: a part of it in each minute."""
    lines = lines_of(metrics)
    generator, now = np.random.default_rng(0), time.time()
    copies = []
    for minute in range(1, MINUTES):
        share = 0.4 + 0.25 * np.sin(minute / 8) + 0.2 * generator.random()
        moment = int(1000 * (now - 60 * minute))
        for line in lines:
            fewer = {name: part(name, value, share, generator) for name, value in line.items()}
            copies.append({**fewer, "_aws": {**line["_aws"], "Timestamp": moment}})
    text = "".join(json.dumps(line, separators=COMPACT) + "\n" for line in copies)
    (metrics / "extended.jsonl").write_text(text)


def part(name: str, value: Any, share: float, generator: np.random.Generator) -> Any:
    """Return a share of a count or of measured values; of a drift test, all."""
    if name.startswith(("Drift", "IsDrift")):
        return value
    if name in COUNTS:
        return [round(each * share) for each in value]
    if isinstance(value, list):
        return [each for each in value if generator.random() < share] or value[:1]
    return value
