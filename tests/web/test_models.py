"""A model's way on the operator's pages: looked at, approved, deployed, rejected, rolled back."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from shared.vision.tests.factories import colour_image
from tests.web.conftest import Watched
from tests.web.visitor import BROWSER, Visitor

pytestmark = BROWSER


def version_that_answers(visitor: Visitor) -> str:
    """Return what a consumer is told of the model that has just answered him."""
    page = visitor.go("/")
    page.set_input_files(
        "#choose",
        [{"name": "a.png", "mimeType": "image/png", "buffer": colour_image("red", 20)}],
    )
    facts = page.locator(".result .facts")
    expect(facts).to_contain_text("model version")
    return facts.inner_text().split(",")[0].removeprefix("model version ")


def decide(page: Page, button: str, comment: str) -> None:
    page.get_by_label("Why").fill(comment)
    with page.expect_navigation():
        page.get_by_role("button", name=button).click()


def test_an_approved_version_is_deployed_and_a_rejected_one_rolled_back(
    watched: Watched, operator: Visitor, consumer: Visitor
) -> None:
    assert version_that_answers(consumer) == "1"
    page = operator.go("/operator/models/2")
    decide(page, "Approve version 2", "better on the dark ones")
    expect(page.get_by_text("better on the dark ones")).to_be_visible()
    operator.go("/operator/models")
    serving = page.locator("#serving")
    expect(serving.locator(".big")).to_have_text("Version 2", timeout=90_000)
    expect(serving).to_contain_text("in service")
    assert version_that_answers(consumer) == "2"
    page.once("dialog", lambda dialog: dialog.accept())
    operator.go("/operator/models/2")
    decide(page, "Roll back to version 1", "worse on the bright ones")
    expect(page.locator(".state").first).to_contain_text("rejected")
    operator.go("/operator/models")
    expect(serving.locator(".big")).to_have_text("Version 1", timeout=90_000)
    assert version_that_answers(consumer) == "1"
    operator.go("/operator/audit")
    rows = page.get_by_role("row").filter(has_text="decide on model")
    expect(rows.nth(0)).to_contain_text("worse on the bright ones")
    expect(rows.nth(1)).to_contain_text("better on the dark ones")


def test_a_model_is_not_rejected_without_a_reason(watched: Watched, operator: Visitor) -> None:
    operator.expects(422)
    page = operator.go("/operator/models/2")
    before = page.locator(".state").first.inner_text()
    page.locator("form[data-api]").evaluate(
        """(form) => { const button = document.createElement("button");
          button.name = "decision"; button.value = "Rejected"; form.append(button);
          button.click(); }"""
    )
    expect(page.get_by_role("alert")).to_contain_text("say why")
    page.reload()
    assert page.locator(".state").first.inner_text() == before


def test_a_new_version_stands_beside_what_serves(watched: Watched, operator: Visitor) -> None:
    page = operator.go("/operator/models/2")
    expect(page.get_by_role("region", name="Confusion matrix")).to_be_visible()
    expect(page.locator(".plots svg").first).to_be_visible()
    expect(page.get_by_role("heading", name="Champion and challenger")).to_be_visible()
    expect(page.get_by_text("the approved model of that time was right on")).to_be_visible()


def test_a_report_runs_nothing_and_shows_its_pictures(watched: Watched, operator: Visitor) -> None:
    page = operator.go("/operator/models/2")
    with page.expect_navigation() as opened:
        page.get_by_role("link", name="The whole report").click()
    policy = opened.value.header_value("content-security-policy") or ""
    assert policy.startswith("sandbox; default-src 'none'")
    expect(page.get_by_role("heading", name="Evaluation").first).to_be_visible()
    sizes = page.locator("img").evaluate_all("(images) => images.map((i) => i.naturalWidth)")
    assert sizes
    assert all(sizes)
