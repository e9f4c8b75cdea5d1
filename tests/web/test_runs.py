"""Runs on the operator's pages: started from the form, watched to the end, stopped, looked into."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.web.conftest import RUN_PAGE, Watched, fill_in
from tests.web.visitor import BROWSER, Visitor
from tests.web.world import QUICK, World

pytestmark = BROWSER


def test_a_run_that_was_started_from_the_form_is_watched_without_a_reload(
    watched: Watched,
) -> None:
    assert len(watched.steps_done) >= 4, watched.steps_done
    assert watched.steps_done == sorted(watched.steps_done)
    assert watched.announced  # for who does not see the table


def test_a_run_tells_what_it_was_given_and_how_its_gates_decided(
    watched: Watched, operator: Visitor, world: World
) -> None:
    page = operator.go(f"/operator/runs/{watched.run}")
    parameters = page.locator(".facts-list")
    for name, value in {**QUICK, "TrainDataset": str(world.archive)}.items():
        line = parameters.locator("div").filter(has=page.get_by_text(name, exact=True))
        expect(line).to_contain_text(value)
    gates = page.get_by_role("region", name="Gates")
    expect(gates.get_by_role("row")).to_have_count(5)
    expect(page.get_by_text("The model passed its gates.")).to_be_visible()
    page.get_by_role("link", name="Log of Train").click()
    expect(page.get_by_role("region", name="Lines")).to_contain_text("val_accuracy=")


def test_a_value_that_the_pipeline_does_not_take_is_refused_and_nothing_starts(
    operator: Visitor,
) -> None:
    operator.expects(422)
    page = operator.go("/operator/runs/new")
    page.get_by_label("Model", exact=True).fill("no such model")
    page.get_by_label("Epochs").fill("0")
    page.get_by_role("button", name="Start").click()
    assert "greater than or equal to 1" in page.get_by_label("Epochs").evaluate(
        "(input) => input.validationMessage"
    )
    page.locator("form[data-api]").evaluate("(form) => { form.noValidate = true; }")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("alert")).to_contain_text("Epochs")
    expect(page).to_have_url(f"{operator.url}/operator/runs/new")


def test_a_run_is_stopped_from_its_page(operator: Visitor, world: World) -> None:
    page = operator.go("/operator/runs/new")
    fill_in(page, world, **QUICK | {"Epochs": "5000"})
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(RUN_PAGE)
    expect(page.locator("#progress")).to_contain_text("Train runs now", timeout=60_000)
    asked: list[str] = []
    page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.accept()))
    page.get_by_role("button", name="Stop this run").click()
    expect(page.locator("#progress .state").first).to_contain_text("stopped", timeout=60_000)
    assert "Stop this run?" in asked[0]
    expect(page.get_by_role("button", name="Stop this run")).to_have_count(0)
    operator.go("/operator/audit")
    row = page.get_by_role("row").filter(has_text="stop run").first
    expect(row).to_contain_text("operator of a test")
    expect(row).to_contain_text("Stopping")
