"""What a consumer sees and does, in a real browser before a real model."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import FilePayload, Locator, Page, Request, Route, expect

from ci.tests.live import wait_until
from shared.vision.tests.factories import COLOURS, colour_image, encode
from tests.web.conftest import Enter
from tests.web.visitor import BROWSER, PHONE, Visitor
from tests.web.world import World

pytestmark = BROWSER
ASKED = "**/api/v1/predictions"
PIXELS = "(canvas) => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)"


def payload(name: str, data: bytes, kind: str = "image/png") -> FilePayload:
    return {"name": name, "mimeType": kind, "buffer": data}


def choose(page: Page, images: Mapping[str, bytes], kind: str = "image/png") -> None:
    page.set_input_files("#choose", [payload(name, data, kind) for name, data in images.items()])


def classified(visitor: Visitor, seed: int, colour: str = "red") -> bytes:
    """Let the model say what an image shows; return the image."""
    image = colour_image(colour, seed)
    choose(visitor.page, {f"{colour}.png": image})
    expect(visitor.page.locator(".result").first).to_contain_text(f"{colour}.png")
    return image


def halves(left: str, right: str) -> bytes:
    """Return an image of two colours: the model is in two minds, and each place counts."""
    sides = [np.full((40, width, 3), COLOURS[name]) for name, width in ((left, 22), (right, 18))]
    noise = np.random.default_rng(0).normal(0, 30, (40, 40, 3))
    return encode(np.clip(np.hstack(sides) + noise, 0, 255).astype(np.uint8))


def drawn(canvas: Locator) -> int:
    """Return how many different values the pixels have; 1 where nothing is drawn."""
    values: int = canvas.evaluate(f"(canvas) => new Set(({PIXELS})(canvas).data).size")
    return values


def jpeg(width: int, height: int) -> bytes:
    """Return noise, which no compression makes small."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def test_who_logs_in_as_a_consumer_sees_what_the_model_says_of_each_image(
    enter: Enter, world: World
) -> None:
    visitor = enter(world)
    visitor.log_in("consumer")
    expect(visitor.page).to_have_url(f"{world.url}/")
    choose(visitor.page, {f"{name}.png": colour_image(name, 1) for name in COLOURS})
    results = visitor.page.locator(".result")
    expect(results).to_have_count(len(COLOURS))
    for name in COLOURS:
        card = results.filter(has_text=f"{name}.png")
        expect(card.get_by_role("heading")).to_contain_text(name)
        expect(card.get_by_role("progressbar")).to_have_count(len(COLOURS))
        expect(card.locator(".facts")).to_contain_text("model version")
    expect(visitor.page.get_by_role("status").first).to_contain_text("3 of 3 classified.")
    expect(visitor.page.get_by_role("navigation")).not_to_contain_text("Models")
    assert visitor.flaws() == []


def test_an_image_may_be_dropped_or_pasted(consumer: Visitor) -> None:
    page = consumer.go("/")
    dropped = consumer.files({"dropped.png": colour_image("green", 2)})
    page.dispatch_event("#drop", "dragover", {"dataTransfer": dropped})
    expect(page.locator("#drop")).to_have_class("drop over")
    page.dispatch_event("#drop", "drop", {"dataTransfer": dropped})
    expect(page.locator(".result").filter(has_text="dropped.png")).to_contain_text("green")
    pasted = consumer.files({"pasted.png": colour_image("blue", 3)})
    page.evaluate(
        """(clipboardData) => document.dispatchEvent(
          new ClipboardEvent("paste", { clipboardData, bubbles: true }))""",
        pasted,
    )
    expect(page.locator(".result").filter(has_text="pasted.png")).to_contain_text("blue")


def test_the_explanation_is_drawn_over_the_image_and_goes_again(consumer: Visitor) -> None:
    page = consumer.go("/")
    choose(page, {"both.png": halves("red", "blue")})
    button = page.get_by_role("button", name="Show where the model looks")
    canvas = page.locator(".result canvas")
    expect(canvas).to_be_hidden()
    button.click()
    expect(canvas).to_be_visible()
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".explained")).to_contain_text("less sure")
    assert drawn(canvas) > 3  # more than one colour and nothing
    assert consumer.flaws() == []
    button.click()
    expect(canvas).to_be_hidden()


def test_an_answer_that_no_single_place_decides_is_explained_in_words(consumer: Visitor) -> None:
    page = consumer.go("/")
    classified(consumer, 4)
    page.get_by_role("button", name="Show where the model looks").click()
    expect(page.locator(".explained")).to_contain_text("no single one decides")
    assert drawn(page.locator(".result canvas")) == 1
    assert consumer.flaws() == []


def test_that_the_model_is_right_reaches_the_review_queue(consumer: Visitor, world: World) -> None:
    page = consumer.go("/")
    image = classified(consumer, 5)
    page.get_by_role("button", name="Yes").click()
    expect(page.locator(".thanks")).to_contain_text("you said red")
    task = world.task(image)
    assert task is not None
    assert (task.said, task.label) == ("red", "red")


def test_that_it_is_something_else_reaches_the_review_queue(
    consumer: Visitor, world: World
) -> None:
    page = consumer.go("/")
    image = classified(consumer, 6)
    page.get_by_role("button", name="No, it is").click()
    choice = page.get_by_label("It shows")
    assert set(choice.locator("option").all_inner_texts()) == {"blue", "green"}
    choice.select_option("green")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".thanks")).to_contain_text("you said green")
    task = world.task(image)
    assert task is not None
    assert (task.said, task.label) == ("green", "red")


@pytest.mark.parametrize(
    ("name", "kind", "data"),
    [
        ("letter.txt", "text/plain", b"Dear model"),
        ("drawing.svg", "image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg'><oops"),
        ("damaged.jpg", "image/jpeg", jpeg(64, 64)[:300]),
        ("damaged.png", "image/png", colour_image("red", 7)[:60]),
    ],
    ids=["text", "svg", "jpeg", "png"],
)
def test_what_is_no_sound_image_is_told_as_such(
    consumer: Visitor, name: str, kind: str, data: bytes
) -> None:
    consumer.expects(422)
    page = consumer.go("/")
    choose(page, {name: data}, kind)
    line = page.locator("#status .bad")
    expect(line).to_contain_text(name)
    assert "image" in line.inner_text()
    expect(page.locator("#status")).to_contain_text("0 of 1 classified.")
    expect(page.locator(".result")).to_have_count(0)


def sent_bytes(request: Request) -> int:
    """Return how much went over the wire; what it was, Chromium does not tell of files."""
    return int(request.header_value("content-length") or 0)


def test_a_large_image_is_made_smaller_before_it_leaves(consumer: Visitor, world: World) -> None:
    page = consumer.go("/")
    large, known = jpeg(3200, 2400), set(world.reviewed())
    with page.expect_request(ASKED) as asked:
        choose(page, {"large.jpg": large}, "image/jpeg")
    assert 1000 < sent_bytes(asked.value) < len(large) / 2
    page.get_by_role("button", name="Yes").click()
    expect(page.locator(".thanks")).to_contain_text("Thank you")
    (kept,) = set(world.reviewed()) - known
    assert len(kept) == sent_bytes(asked.value)
    with Image.open(io.BytesIO(kept)) as image:
        assert (image.format, image.size) == ("JPEG", (1600, 1200))


def test_a_small_image_leaves_as_it_is(consumer: Visitor, world: World) -> None:
    page = consumer.go("/")
    small = colour_image("red", 8)
    with page.expect_request(ASKED) as asked:
        choose(page, {"small.png": small})
    assert sent_bytes(asked.value) == len(small)
    page.get_by_role("button", name="Yes").click()
    expect(page.locator(".thanks")).to_contain_text("Thank you")
    assert small in world.reviewed()


def test_the_history_outlives_a_reload_and_ends_when_it_is_forgotten(consumer: Visitor) -> None:
    page = consumer.go("/")
    classified(consumer, 9)
    expect(page.locator("#status")).to_contain_text("1 of 1")
    page.reload()
    earlier = page.locator("#earlier")
    expect(earlier.get_by_role("listitem")).to_contain_text("red.png")
    assert consumer.flaws() == []
    page.get_by_role("button", name="Forget these").click()
    expect(earlier).to_be_hidden()
    page.reload()
    expect(earlier).to_be_hidden()


def test_the_keyboard_alone_does_everything(
    consumer: Visitor, world: World, tmp_path: Path
) -> None:
    # Chromium asks us for files from here on; told only with the key press, it may be too late.
    consumer.page.on("filechooser", lambda _chooser: None)
    page = consumer.go("/")
    image = colour_image("blue", 10)
    (tmp_path / "blue.png").write_bytes(image)
    consumer.tab_to(page.locator("#choose"))
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(tmp_path / "blue.png")
    card = page.locator(".result")
    expect(card).to_contain_text("blue.png")
    consumer.tab_to(card.locator(".explain"))
    page.keyboard.press("Enter")
    expect(card.locator("canvas")).to_be_visible()
    consumer.tab_to(card.locator(".wrong"))
    page.keyboard.press("Enter")
    expect(card.locator("select")).to_be_focused()
    page.keyboard.press("ArrowDown")
    consumer.tab_to(card.get_by_role("button", name="Send"))
    page.keyboard.press("Enter")
    expect(card.locator(".thanks")).to_contain_text("you said")
    wait_until(lambda: world.task(image) is not None)


def test_a_phone_shows_all_of_it_without_scrolling_sideways(enter: Enter, world: World) -> None:
    visitor = enter(world, "consumer")
    visitor.page.set_viewport_size(PHONE)
    page = visitor.go("/")
    classified(visitor, 11)
    for shown in (page.get_by_text("Choose images"), page.locator(".result .bars")):
        box = shown.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE["width"]
    assert page.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]


def test_a_model_that_is_being_started_is_waited_for(consumer: Visitor) -> None:
    refused: list[Request] = []

    def wake(route: Route) -> None:
        refused.append(route.request)
        if len(refused) > 2:
            route.fallback()
            return
        body = {"error": "Waking", "message": "the model is being started", "request_id": "r"}
        route.fulfill(status=503, headers={"retry-after": "1"}, json=body)

    consumer.expects(503)
    page = consumer.go("/")
    page.route(ASKED, wake)
    choose(page, {"early.png": colour_image("red", 12)})
    expect(page.locator("#status")).to_contain_text("The model is being started.")
    expect(page.locator(".result")).to_contain_text("early.png")
    assert len(refused) == 3


def test_a_server_that_is_gone_is_told_as_such(consumer: Visitor) -> None:
    page = consumer.go("/")
    page.route(ASKED, lambda route: route.abort("connectionrefused"))
    choose(page, {"lost.png": colour_image("red", 13)})
    expect(page.locator("#status .bad")).to_contain_text("lost.png: the server does not answer")
    assert [text for text in consumer.complaints if "ERR_CONNECTION_REFUSED" not in text] == []
    consumer.complaints.clear()


def test_too_many_pixels_for_the_browser_to_send_are_told(consumer: Visitor) -> None:
    """A page with a limit that even a smaller image is beyond."""
    page = consumer.go("/")
    page.evaluate("() => { document.getElementById('drop').dataset.maxMb = '0.01'; }")
    choose(page, {"huge.jpg": jpeg(2000, 1500)}, "image/jpeg")
    expect(page.locator("#status .bad")).to_contain_text("huge.jpg: this image is too large")
