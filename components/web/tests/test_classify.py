"""What a consumer sends and gets: predictions, feedback, and every way in which it goes wrong."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from components.web.tests.house import LABELS, PNG, House, open_house
from shared.component import review_queue
from shared.component.invoke import ModelAwayError, ModelRefusedError
from shared.component.object_store import FolderStore
from shared.component.review_queue import read_task


@pytest.fixture
def house(tmp_path: Path) -> House:
    return open_house(sink=str(tmp_path / "sink"), feedback_per_day=2)


def predicted(browser: Any, image: bytes = PNG, query: str = "") -> dict[str, Any]:
    answer = browser.post(f"/api/v1/predictions{query}", content=image)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def report(browser: Any, receipt: str, said: str = "sea", image: bytes = PNG) -> Any:
    headers = {"x-receipt": receipt}
    return browser.post("/api/v1/feedback", params={"said": said}, content=image, headers=headers)


def test_an_image_gets_what_the_model_says_of_it_the_likeliest_first(house: House) -> None:
    said = predicted(house.visitor("consumer"))
    assert (said["label"], said["confidence"], said["model_version"]) == ("forest", 0.8, "3")
    assert [share["label"] for share in said["probabilities"]] == ["forest", "buildings", "sea"]
    assert (said["is_drift"], said["explanation"]) == (None, None)
    assert house.model.asked == [""]


def test_an_explanation_comes_when_it_is_asked_for(house: House) -> None:
    said = predicted(house.visitor("consumer"), query="?explain=true")
    assert said["explanation"]["map"] == [[0.1, -0.2]]
    assert house.model.asked == ["explain=true"]


@pytest.mark.parametrize(
    "image",
    [b"GIF89a", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7", b"hello", b"\xff\xd8"],
)
def test_what_begins_as_no_image_never_reaches_the_model(house: House, image: bytes) -> None:
    answer = house.visitor("consumer").post("/api/v1/predictions", content=image)
    assert answer.status_code == 422
    assert "no JPEG, PNG or WebP image" in answer.json()["message"]
    assert house.model.asked == []


def test_an_empty_body_is_told_so(house: House) -> None:
    answer = house.visitor("consumer").post("/api/v1/predictions")
    assert (answer.status_code, answer.json()["message"]) == (
        422,
        "the body is empty; send an image",
    )


def test_what_is_larger_than_the_limit_is_refused_before_it_is_read() -> None:
    house = open_house(max_image_mb=1)
    answer = house.visitor("consumer").post("/api/v1/predictions", content=PNG + bytes(1 << 20))
    assert answer.status_code == 413
    assert house.model.asked == []


@pytest.mark.parametrize(
    ("trouble", "status", "kind"),
    [
        (ModelRefusedError(422, "image: damaged or truncated (JPEG)"), 422, "ModelRefused"),
        (ModelRefusedError(413, "more than 80,000,000 pixels"), 413, "ModelRefused"),
        (ModelRefusedError(500, "/opt/ml/secret"), 502, "Failed"),
        (ModelAwayError("503 arn:aws:123456789012", is_waking=True), 503, "Waking"),
        (ModelAwayError("endpoint arn:aws:123456789012 /opt"), 503, "Away"),
    ],
)
def test_what_the_model_says_is_told_and_what_is_behind_it_is_not(
    house: House, trouble: Exception, status: int, kind: str
) -> None:
    def fail(_image: bytes) -> None:
        raise trouble

    house.model.before = fail
    answer = house.visitor("consumer").post("/api/v1/predictions", content=PNG)
    assert (answer.status_code, answer.json()["error"]) == (status, kind)
    assert "arn" not in answer.text
    assert "/opt" not in answer.text
    assert ("retry-after" in answer.headers) == (kind == "Waking")


def test_an_answer_that_is_none_of_our_models_is_told_as_such(house: House) -> None:
    house.app.state.model = type(house.app.state.model)(lambda _i, _a: {"predictions": [{}]})
    answer = house.visitor("consumer").post("/api/v1/predictions", content=PNG)
    assert (answer.status_code, answer.json()["error"]) == (502, "Failed")


def test_a_fault_of_our_own_tells_a_visitor_its_id_and_nothing_else(house: House) -> None:
    def crash(_image: bytes) -> None:
        raise ZeroDivisionError("/opt/program/components/web/model.py")

    house.model.before = crash
    browser = house.visitor("consumer")
    browser = house.outsider(
        raise_server_exceptions=False, cookies=browser.cookies, headers=browser.headers
    )
    answer = browser.post("/api/v1/predictions", content=PNG)
    assert (answer.status_code, answer.json()["error"]) == (500, "Internal")
    assert "program" not in answer.text
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert "content-security-policy" in answer.headers


@pytest.mark.parametrize("said", ["sea", "forest"])
def test_feedback_becomes_a_task_for_people_with_what_the_model_said(
    house: House, tmp_path: Path, said: str
) -> None:
    browser = house.visitor("consumer")
    answer = report(browser, predicted(browser)["receipt"], said)
    assert (answer.status_code, answer.json()) == (201, {"said": said, "predicted": "forest"})
    sha256 = hashlib.sha256(PNG).hexdigest()
    store = FolderStore(tmp_path / "sink")
    task = read_task(store.get(review_queue.task_key(sha256)) or b"", "the task")
    assert (task.label, task.said, task.labels) == ("forest", said, LABELS)
    assert (task.confidence, task.model_version, task.request_id) == (0.8, "3", "r-1")
    assert store.get(task.image) == PNG


def test_feedback_on_an_image_that_was_not_shown_is_refused(house: House) -> None:
    browser = house.visitor("consumer")
    receipt = predicted(browser)["receipt"]
    answer = report(browser, receipt, image=PNG + b"another")
    assert (answer.status_code, answer.json()["error"]) == (422, "BadInput")


def test_nobody_writes_his_own_prediction(house: House) -> None:
    browser = house.visitor("consumer")
    receipt = predicted(browser)["receipt"]
    for forged in ("x", receipt[:-1] + ("A" if receipt[-1] != "A" else "B"), receipt[1:]):
        assert report(browser, forged).status_code == 422


def test_a_prediction_gets_too_old_for_feedback(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    import itsdangerous

    browser = house.visitor("consumer")
    receipt = predicted(browser)["receipt"]
    read = itsdangerous.TimestampSigner.get_timestamp
    late = 9 * 3600
    monkeypatch.setattr(itsdangerous.TimestampSigner, "get_timestamp", lambda s: read(s) + late)
    answer = browser.post("/api/v1/feedback?said=sea", content=PNG, headers={"x-receipt": receipt})
    assert answer.status_code in (401, 422)  # the session may have ended with it


def test_a_label_that_the_model_does_not_know_is_refused(house: House) -> None:
    browser = house.visitor("consumer")
    answer = report(browser, predicted(browser)["receipt"], "cat")
    assert answer.status_code == 422
    assert "'cat' is no label of the model" in answer.json()["message"]


def test_people_get_no_more_than_they_can_look_at(house: House) -> None:
    browser = house.visitor("consumer")
    images = [PNG + bytes([number]) for number in range(3)]
    answers = [report(browser, predicted(browser, i)["receipt"], image=i) for i in images]
    assert [answer.status_code for answer in answers] == [201, 201, 429]
    again = report(browser, predicted(browser, images[0])["receipt"], image=images[0])
    assert again.status_code == 201  # counted once


def test_feedback_where_no_queue_is_known_says_so() -> None:
    browser = open_house().visitor("consumer")
    answer = report(browser, predicted(browser)["receipt"])
    assert (answer.status_code, answer.json()["error"]) == (409, "Conflict")


def test_feedback_that_cannot_be_written_says_so(house: House, tmp_path: Path) -> None:
    (tmp_path / "sink").write_text("no folder")
    browser = house.visitor("consumer")
    answer = report(browser, predicted(browser)["receipt"])
    assert (answer.status_code, answer.json()["error"]) == (503, "Away")
    assert str(tmp_path) not in answer.text


def test_the_page_loads_its_own_scripts_alone_and_weighs_little(house: House) -> None:
    browser = house.visitor("consumer")
    page = browser.get("/").text
    addresses = set(re.findall(r'="(/static/[^"]+)"', page))
    assert {address.partition("?")[0].rpartition("/")[2] for address in addresses} == {
        "app.css",
        "classify.js",
        "icon.svg",
    }
    weight = len(page)
    while addresses:
        text = browser.get(addresses.pop()).text
        weight += len(text)
        addresses |= {f"/static/{name}" for name in re.findall(r'from "\./([a-z]+\.js)"', text)}
    assert 20_000 < weight < 40_000


def test_an_api_client_finds_every_error_described(house: House) -> None:
    document = house.visitor("consumer").get("/api/v1/openapi.json").json()
    operation = document["paths"]["/api/v1/predictions"]["post"]
    assert {"200", "401", "403", "413", "422", "429", "502", "503"} <= operation["responses"].keys()
    assert "image/jpeg" in operation["requestBody"]["content"]
    assert all(path.startswith("/api/v1/") for path in document["paths"])
    assert "login" not in json.dumps(document["paths"])
