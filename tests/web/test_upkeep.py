"""Parameters, data sets, live figures and labelling on the operator's pages."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from shared.vision.tests.factories import COLOURS, colour_image
from tests.web.conftest import Watched
from tests.web.visitor import BROWSER, Visitor
from tests.web.world import LABEL_STUDIO, World

pytestmark = BROWSER
CONFIDENCE = "Minimum-Label-Detection-Confidence"


def test_a_parameter_that_was_changed_counts_and_stands_in_the_audit(operator: Visitor) -> None:
    page = operator.go("/operator/parameters")
    section = page.locator(f"#{CONFIDENCE}")
    section.get_by_label("In force").fill("85.5")
    section.get_by_label("Why", exact=True).fill("too much goes to people")
    with page.expect_navigation():
        section.get_by_role("button", name="Save").click()
    expect(section.get_by_label("In force")).to_have_value("85.5")
    expect(section).to_contain_text("by operator of a test: “too much goes to people”")
    operator.go("/operator/audit")
    row = page.get_by_role("row").filter(has_text=CONFIDENCE).first
    expect(row.get_by_role("cell").nth(2)).to_have_text("70")
    expect(row.get_by_role("cell").nth(3)).to_have_text("85.5")


def test_a_value_out_of_range_is_refused_and_the_old_one_stays(operator: Visitor) -> None:
    operator.expects(422)
    page = operator.go("/operator/parameters")
    section = page.locator("#Minimum-F1-Score")
    field = section.get_by_label("In force")
    before = field.input_value()
    field.fill("1.5")
    section.get_by_role("button", name="Save").click()
    assert "less than or equal to 1" in field.evaluate("(input) => input.validationMessage")
    section.locator("form").evaluate("(form) => { form.noValidate = true; }")
    section.get_by_role("button", name="Save").click()
    expect(section.get_by_role("alert")).to_contain_text("Minimum-F1-Score")
    expect(section.get_by_role("alert")).to_contain_text("1")
    page.reload()
    expect(field).to_have_value(before)
    expect(section).to_contain_text("Never changed.")


def test_who_was_slower_is_told_so_and_overwrites_nothing(operator: Visitor) -> None:
    operator.expects(409)
    page = operator.go("/operator/parameters")
    section = page.locator("#Human-Sampling-Interval")
    other = operator.context.new_page()
    other.goto("/operator/parameters")
    theirs = other.locator("#Human-Sampling-Interval")
    theirs.get_by_label("In force").fill("500")
    with other.expect_navigation():
        theirs.get_by_role("button", name="Save").click()
    other.close()
    section.get_by_label("In force").fill("900")
    section.get_by_role("button", name="Save").click()
    expect(section.get_by_role("alert")).to_contain_text("is 500 by now; look again")
    page.reload()
    expect(section.get_by_label("In force")).to_have_value("500")


def test_a_folder_of_classes_becomes_a_complete_data_set(
    operator: Visitor, world: World, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    for name in COLOURS:
        (folder / name).mkdir(parents=True)
        for number in range(2):
            (folder / name / f"{number}.png").write_bytes(colour_image(name, 50 + number))
    (folder / "red" / "notes.txt").write_text("no image")
    page = operator.go("/operator/datasets")
    page.get_by_label("Name of the set").fill("more-colours")
    page.get_by_label("A folder that holds").set_input_files(folder)
    expect(page.locator("#chosen")).to_contain_text("6 images of 3 classes chosen; 1 file")
    page.get_by_role("button", name="Upload").click()
    held = page.locator("#held")
    expect(held).to_contain_text("more-colours holds 6 images in 3 folders; it is open.")
    expect(held.get_by_role("row")).to_have_count(4)
    expect(page.locator("#left-out")).to_contain_text("red/notes.txt: no image")
    assert operator.flaws() == []
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="This set is complete").click()
    expect(held).to_contain_text("is complete.")
    place = world.home / "s3" / "data" / "raw" / "more-colours"
    assert (place / "_SUCCESS").exists()
    assert (place / "red" / "0.png").read_bytes() == colour_image("red", 50)
    operator.go("/operator/audit")
    expect(page.get_by_role("row").filter(has_text="complete data set")).to_contain_text(
        "more-colours"
    )


def test_a_complete_data_set_takes_no_more(operator: Visitor, world: World) -> None:
    place = world.home / "s3" / "data" / "raw" / "done"
    place.mkdir(parents=True)
    (place / "_SUCCESS").touch()
    operator.expects(409)
    page = operator.go("/operator/datasets")
    page.get_by_label("Name of the set").fill("done")
    page.get_by_label("Images of one class").fill("red")
    image = {"name": "a.png", "mimeType": "image/png", "buffer": colour_image("red", 60)}
    page.get_by_label("these files").set_input_files([image])
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("alert")).to_contain_text("done is complete and never changes")


def test_what_was_classified_shows_in_the_live_charts_by_itself(
    operator: Visitor, consumer: Visitor
) -> None:
    consumer.go("/")
    images = [colour_image(name, 70 + n) for n in range(4) for name in sorted(COLOURS)]
    consumer.page.set_input_files(
        "#choose",
        [
            {"name": f"{number}.png", "mimeType": "image/png", "buffer": image}
            for number, image in enumerate(images)
        ],
    )
    expect(consumer.page.locator("#status")).to_contain_text("12 of 12 classified.")
    page = operator.go("/operator/live?hours=1")
    expect(page.locator(".plots .plot svg").first).to_be_visible(timeout=60_000)
    shares = page.get_by_role("region", name="Answers by class")
    expect(shares.get_by_role("row")).to_have_count(1 + len(COLOURS))
    assert operator.flaws() == []


def test_what_users_say_is_counted_on_the_labelling_page(
    operator: Visitor, consumer: Visitor
) -> None:
    def reported() -> int:
        page = operator.go("/operator/labelling")
        figure = page.locator(".figure").filter(has_text="reported by users")
        return int(figure.locator("b").inner_text())

    before = reported()
    page = consumer.go("/")
    image = {"name": "a.png", "mimeType": "image/png", "buffer": colour_image("red", 80)}
    page.set_input_files("#choose", [image])
    page.get_by_role("button", name="Yes").click()
    expect(page.locator(".thanks")).to_contain_text("Thank you")
    assert reported() == before + 1


def test_what_was_left_out_of_the_data_is_counted_and_named(
    watched: Watched, operator: Visitor
) -> None:
    page = operator.go("/operator/data")
    for flaw in ("quarantined", "label conflicts", "leaks", "duplicates"):
        figure = page.locator(".figure").filter(has_text=flaw)
        expect(figure.locator("b")).to_have_text("1")
    page.get_by_text("Which images").click()
    region = page.get_by_role("region", name="Quarantined images")
    expect(region).to_contain_text("train/red/broken.png")
    expect(page.get_by_role("region", name="Leaks")).to_contain_text("train/green/leak.png")
    expect(page.get_by_role("region", name="Duplicates")).to_contain_text("train/red/copy.png")
    with page.expect_navigation():
        page.get_by_role("link", name="The whole report").click()
    expect(page.get_by_role("heading").first).to_be_visible()


def test_what_people_labelled_stands_on_the_labelling_page(operator: Visitor) -> None:
    page = operator.go("/operator/labelling")
    held = page.locator(".figure").filter(has_text="held for adjudication")
    expect(held.locator("b")).to_have_text("3")
    expect(page.get_by_role("region", name="Annotators")).to_contain_text("accepts everything")
    expect(page.get_by_role("region", name="Agreement")).to_contain_text("held: agrees too little")
    link = page.get_by_role("link", name="Open Label Studio")
    expect(link).to_have_attribute("href", LABEL_STUDIO)
