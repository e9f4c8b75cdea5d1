"""The operator's pages: what they show, also where there is nothing or nobody answers."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from components.web.tests.house import House, open_house
from components.web.tests.operator.aws import RUN, Fake, Services, Store, error, job, serving, step
from components.web.tests.operator.house import busy_house
from shared.component.storage import S3_ROOT_VARIABLE

PAGES = [
    "/operator",
    "/operator/runs",
    "/operator/runs/new",
    f"/operator/runs/{RUN}",
    f"/operator/runs/{RUN}/progress",
    f"/operator/runs/{RUN}/steps/Train",
    "/operator/models",
    "/operator/models/3",
    "/operator/serving",
    "/operator/live",
    "/operator/live/figures?hours=1",
    "/operator/labelling",
    "/operator/datasets",
    "/operator/parameters",
    "/operator/data",
    "/operator/audit",
]
ALONE = [p for p in PAGES if RUN not in p and p != "/operator/models/3"]  # of no single thing
PARTS = ("progress", "serving", "figures")
_VOID = {"input", "meta", "link", "img", "br", "path", "rect", "line", "circle"}


class Reader(HTMLParser):
    """Collects what a test wants to know of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> dict[str, str]:
    """Return every page of a stage where everything has happened once."""
    root = tmp_path_factory.mktemp("house")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(S3_ROOT_VARIABLE, str(root / "s3"))
        operator = busy_house(root, root / "s3").visitor("operator")
        answers = {path: operator.get(path) for path in PAGES}
    assert {path: answer.status_code for path, answer in answers.items()} == dict.fromkeys(
        PAGES, 200
    )
    return {path: answer.text for path, answer in answers.items()}


@pytest.fixture
def house(tmp_path, s3_root) -> House:
    return busy_house(tmp_path, s3_root)


@pytest.fixture
def operator(house):
    return house.visitor("operator")


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_whole_and_has_neither_script_nor_style_inline(shown, path):
    page = Reader(shown[path])
    assert page.wrong == []
    for tag, attributes in page.tags:
        assert tag != "style"
        assert tag != "script" or attributes.get("src")
        odd = {n for n in attributes if n == "style" or n.startswith(("on", "hx-on", "hx-vars"))}
        assert not odd, (tag, odd)


@pytest.mark.parametrize("path", PAGES)
def test_headings_tables_and_fields_have_what_readers_need(shown, path):
    page = Reader(shown[path])
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    if not path.partition("?")[0].endswith(PARTS):
        assert levels.count(1) == 1
        assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    names = [tag for tag, _ in page.tags]
    assert names.count("table") == names.count("caption")
    assert all(a.get("scope") for tag, a in page.tags if tag == "th")
    labelled = {a.get("for") for tag, a in page.tags if tag == "label"}
    ids = [a["id"] for _, a in page.tags if a.get("id")]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.tags:
        is_field = tag in ("input", "select", "textarea") and attributes.get("type") != "hidden"
        if is_field and "/parameters" not in path:  # there fields stand within their labels
            assert attributes.get("id") in labelled, attributes


def test_nobody_else_sees_a_page(house):
    consumer, outsider = house.visitor("consumer"), house.outsider(follow_redirects=False)
    for path in PAGES:
        assert consumer.get(path).status_code == 403, path
        lead = outsider.get(path)
        assert lead.headers["location"].startswith("/login?next=/operator"), path


def test_where_nobody_answers_the_page_says_so():
    house = open_house(name="scenes", operator_path="/a/b/operator", label_report="ftp://x")
    operator = house.visitor("operator")
    for path in ALONE:
        answer = operator.get(path)
        assert answer.status_code == 200, path
        if path not in ("/operator/audit", "/operator/datasets"):
            assert 'class="notice"' in answer.text, path


EMPTY = {
    "/operator/runs": "Nothing has run yet",
    "/operator/models": "There is no model yet",
    "/operator/live": "Nothing was reported in this time",
    "/operator/labelling": "The queue is empty",
    "/operator/data": "There is no data report yet",
    "/operator/audit": "Nothing is written down yet",
    "/operator": "none yet",
}


def test_where_there_is_nothing_the_page_says_how_to_get_it(tmp_path):
    nothing = Store().sagemaker(list_pipeline_executions={"PipelineExecutionSummaries": []})
    ssm = Fake("ssm", get_parameters_by_path={"Parameters": []})
    house = open_house(
        Services(nothing, ssm=ssm),
        name="scenes",
        sink=str(tmp_path),
        audit_log=str(tmp_path / "audit"),
    )
    operator = house.visitor("operator")
    for path, words in EMPTY.items():
        assert words in operator.get(path).text, path


def test_a_run_renews_itself_and_announces_what_changes(tmp_path, s3_root):
    running = [step("Train", "Executing", **job("TrainingJob", "j-train"))]
    house = busy_house(tmp_path, s3_root, Store(steps=running, status="Executing"))
    browser = house.visitor("operator")
    page = browser.get(f"/operator/runs/{RUN}").text
    address = re.search(r'hx-get="([^"]+)" hx-trigger="every 3s"', page)[1]
    assert '<p id="run-status" role="status"' in page
    again = browser.get(address).text
    assert 'hx-trigger="every 3s"' in again
    assert "hx-swap-oob" not in again  # nothing new to say
    assert (
        "running: 0 of 6 steps are done, Train now"
        in browser.get(f"/operator/runs/{RUN}/progress?seen=x").text
    )


def test_a_run_that_is_over_renews_itself_no_more(operator):
    page = operator.get(f"/operator/runs/{RUN}").text
    assert "every 3s" not in page
    assert "Stop this run" not in page


def test_a_run_shows_the_gate_it_missed(operator):
    page = operator.get(f"/operator/runs/{RUN}").text
    assert "missed by 0.0500" in page


def test_a_log_is_text(operator):
    page = operator.get(f"/operator/runs/{RUN}/steps/Train").text
    assert "epoch=1 &lt;script&gt;" in page


def test_the_form_begins_with_what_the_newest_run_was_told_and_the_champion(operator):
    page = Reader(operator.get("/operator/runs/new").text)
    fields = {a["name"]: a for tag, a in page.tags if tag in ("input", "select") if a.get("name")}
    assert fields["parameters.Epochs"]["value"] == "3"  # of the newest run; the default is 25
    assert fields["parameters.LearningRate"]["value"] == "0.001"
    assert fields["parameters.Epochs"]["min"] == "1"
    assert fields["parameters.Champion"]["value"].endswith("run2/Register/package/model.tar.gz")
    assert len(fields["token"]["value"]) >= 32
    other = Reader(operator.get("/operator/runs/new").text)
    tokens = {a["value"] for tag, a in other.tags if a.get("name") == "token"}
    assert tokens != {fields["token"]["value"]}


def test_a_roll_back_names_what_comes_back_and_asks(operator):
    page = operator.get("/operator/models/2").text
    assert "Roll back to version 1" in page
    assert 'data-ask="Version 2 serves. Once rejected, version 1 takes its place. Go on?"' in page
    assert "data-ask" not in operator.get("/operator/models/3").text


def test_a_challenger_stands_beside_what_serves(operator):
    page = operator.get("/operator/models/3").text
    assert "Beside version 2, which serves" in page
    assert "differs by +5.0 points" in page


def test_the_models_page_says_what_serves(operator):
    page = operator.get("/operator/models").text
    assert "Version 2</a>" in page
    assert "in service" in page
    assert "reject version 2" in page


def test_a_failed_endpoint_says_why(tmp_path, s3_root):
    broken = Store(endpoint=serving(2, "Failed", FailureReason="no capacity"))
    page = busy_house(tmp_path, s3_root, broken).visitor("operator").get("/operator/models").text
    assert "no capacity" in page


def test_one_service_that_is_away_hides_no_other(tmp_path, s3_root):
    away = Store(endpoint=error("InternalFailure", "oh", "DescribeEndpoint"))
    page = busy_house(tmp_path, s3_root, away).visitor("operator").get("/operator/models").text
    assert "DescribeEndpoint failed" in page
    assert "Version 3</a>" in page


def test_who_changed_a_parameter_is_told(house, operator):
    body = {"value": "0.85", "comment": "more data"}
    operator.put("/api/v1/parameters/Minimum-F1-Score", json=body)
    operator.put("/api/v1/parameters/Minimum-Inference-Units", json={"value": 2})
    page = operator.get("/operator/parameters").text
    assert page.count("more data") == 1
    house.app.state.clients.ssm.put_parameter(
        Name="/visionloop/dev/operator/Minimum-F1-Score", Value="0.9", Type="String"
    )
    assert "more data" not in operator.get("/operator/parameters").text  # by somebody else since


def test_the_audit_page_says_who_did_what(operator):
    operator.put("/api/v1/parameters/Minimum-F1-Score", json={"value": "0.85"})
    page = operator.get("/operator/audit").text
    assert "operator of a test" in page
    assert "set parameter" in page


def test_labelling_shows_what_is_held_and_who_is_doubtful(operator):
    page = operator.get("/operator/labelling").text
    assert "held: agrees too little" in page
    assert "accepts everything" in page
    assert "56.6 % to 82.3 %" in page


def test_scripts_ask_no_other_host_and_evaluate_nothing():
    script = (Path(__file__).parents[2] / "static" / "upload.js").read_text()
    assert not re.search(r"\beval\(|innerHTML|new Function|https?://", script)


def test_a_version_that_was_approved_is_looked_for_until_it_serves(
    tmp_path: Path, s3_root: Path
) -> None:
    """The deployment begins seconds after the approval, when the page has long been shown."""
    waiting = busy_house(tmp_path, s3_root, Store(endpoint=serving(1))).visitor("operator")
    page = waiting.get("/operator/serving").text
    assert 'hx-get="/operator/serving"' in page
    assert "Version 2 is the newest approved one" in page
    steady = busy_house(tmp_path, s3_root, Store(endpoint=serving(2))).visitor("operator")
    assert "hx-get" not in steady.get("/operator/serving").text


def test_a_champion_without_figures_is_not_said_to_be_none(house: House, s3_root: Path) -> None:
    folder = s3_root / "bucket" / "scenes" / "run2" / "Register" / "report"
    for name in ("report.json", "statistics.json"):
        (folder / name).unlink()
    page = house.visitor("operator").get("/operator/models/3").text
    assert "Version 2, which serves, says nothing of how good it is." in page
    assert "No other version is approved" not in page
