"""The operator's JSON API: what it does, whom it lets in, what it writes down."""

from __future__ import annotations

import pytest

from components.web.tests.house import House, open_house
from components.web.tests.operator.aws import RUN, Store, job, serving, step
from components.web.tests.operator.house import busy_house

TOKEN = "t" * 40
JPEG = b"\xff\xd8\xff and so on"
READS = [
    "/runs",
    f"/runs/{RUN}",
    f"/runs/{RUN}/steps/Train/log",
    "/start-form",
    "/models",
    "/models/3",
    "/models/3/report",
    "/serving",
    "/live",
    "/live?hours=168",
    "/labelling",
    "/datasets/photos",
    "/parameters",
    "/parameters/Minimum-F1-Score",
    "/data",
    "/data/report",
    "/audit",
]
CHANGES = [
    ("post", "/runs", {"token": TOKEN}),
    ("post", f"/runs/{RUN}/stop", {"token": TOKEN}),
    ("post", "/models/3/decision", {"decision": "Approved"}),
    ("post", "/datasets", {"name": "photos"}),
    ("post", "/datasets/photos/files?path=cats/1.jpg", None),
    ("post", "/datasets/photos/uploads", {"path": "cats/1.jpg"}),
    ("post", "/datasets/photos/complete", {"files": 1}),
    ("put", "/parameters/Minimum-F1-Score", {"value": 0.9}),
]


@pytest.fixture
def house(tmp_path, s3_root) -> House:
    return busy_house(tmp_path, s3_root)


@pytest.fixture
def operator(house):
    return house.visitor("operator")


def audit(house: House) -> list[tuple[str, str, object, object]]:
    return [(e.action, e.subject, e.before, e.after) for e in house.app.state.audit.last(10)]


def test_everything_can_be_read(operator):
    found = {path: operator.get(f"/api/v1{path}").status_code for path in READS}
    assert found == dict.fromkeys(READS, 200)


def test_nobody_else_reads(house):
    consumer, outsider = house.visitor("consumer"), house.outsider()
    for path in READS:
        assert consumer.get(f"/api/v1{path}").status_code == 403, path
        assert outsider.get(f"/api/v1{path}").status_code == 401, path


def test_nobody_else_changes_and_nobody_without_the_token(house):
    consumer, operator = house.visitor("consumer"), house.visitor("operator")
    del operator.headers["x-csrf-token"]
    for method, path, body in CHANGES:
        assert consumer.request(method, f"/api/v1{path}", json=body).status_code == 403, path
        assert operator.request(method, f"/api/v1{path}", json=body).status_code == 403, path
    assert audit(house) == []


def test_where_aws_is_away_the_answer_says_so():
    house = open_house(name="scenes", operator_path="/a/b/operator")
    operator = house.visitor("operator")
    local = ("/live", "/labelling", "/datasets", "/audit")
    for path in READS:
        answer = operator.get(f"/api/v1{path}")
        assert answer.status_code in ((200, 404) if path.startswith(local) else (503,)), path
        assert "Traceback" not in answer.text


def test_a_run_is_started_with_what_differs_and_written_down(house, operator):
    body = {"token": TOKEN, "parameters": {"Epochs": "3", "LearningRate": "0.001"}}
    answer = operator.post("/api/v1/runs", json=body)
    assert answer.status_code == 201
    champion = "s3://bucket/scenes/run2/Register/package/model.tar.gz"
    parameters = {"Champion": champion, "Epochs": "3"}
    assert answer.json() == {"id": "0123456789ab", "parameters": parameters}
    assert audit(house) == [("start run", "0123456789ab", None, parameters)]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"token": TOKEN, "parameters": {"Epochs": "0"}}, "'Epochs' is 0; the least is 1"),
        ({"token": "short"}, "token"),
        ({"token": TOKEN, "Epochs": "3"}, "Epochs"),
        ({"token": TOKEN, "parameters": {"Epochs": 3}}, "Epochs"),
        ({"token": TOKEN, "parameters": {"Epochs": "9" * 5000}}, "1024"),
        ([], ""),
    ],
)
def test_a_start_that_is_none_is_refused_and_nothing_is_written_down(
    house, operator, body, message
):
    answer = operator.post("/api/v1/runs", json=body)
    assert answer.status_code == 422
    assert message in answer.json()["message"]
    assert audit(house) == []


def test_a_run_is_stopped_once(tmp_path, s3_root):
    running = [step("Train", "Executing", **job("TrainingJob", "j-train"))]
    house = busy_house(tmp_path, s3_root, Store(steps=running, status="Executing"))
    answer = house.visitor("operator").post(f"/api/v1/runs/{RUN}/stop", json={"token": TOKEN})
    assert (answer.status_code, answer.json()["status"]) == (202, "Stopping")
    assert audit(house) == [("stop run", RUN, "Executing", "Stopping")]


def test_a_run_that_is_over_is_not_stopped(house, operator):
    answer = operator.post(f"/api/v1/runs/{RUN}/stop", json={"token": TOKEN})
    assert answer.status_code == 409
    assert "is over" in answer.json()["message"]


def test_a_decision_is_made_and_written_down(house, operator):
    body = {"decision": "Rejected", "comment": " too weak ", "seen": "PendingManualApproval"}
    answer = operator.post("/api/v1/models/3/decision", json=body)
    assert answer.json() == {
        "version": 3,
        "before": "PendingManualApproval",
        "status": "Rejected",
    }
    assert audit(house) == [("decide on model", "version 3", "PendingManualApproval", "Rejected")]
    assert house.app.state.audit.last(1)[0].comment == "too weak"
    again = operator.post("/api/v1/models/3/decision", json=body)
    assert again.status_code == 409


def test_a_rejection_says_why(operator):
    answer = operator.post("/api/v1/models/3/decision", json={"decision": "Rejected"})
    assert answer.status_code == 422
    assert "say why version 3 is rejected" in answer.json()["message"]


@pytest.mark.parametrize("path", ["/models/3/report", "/data/report"])
def test_a_report_runs_nothing(operator, path):
    answer = operator.get(f"/api/v1{path}")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'")
    assert answer.headers["content-type"].startswith("text/html")


def test_a_data_set_is_uploaded_and_completed(house, operator, s3_root):
    assert operator.post("/api/v1/datasets", json={"name": "photos"}).status_code == 200
    where = "/api/v1/datasets/photos"
    for content_type in ("image/jpeg", "application/octet-stream"):
        answer = operator.post(
            f"{where}/files",
            params={"path": "cats/1.jpg"},
            content=JPEG,
            headers={"content-type": content_type},
        )
        assert (answer.status_code, answer.json()) == (
            201,
            {"path": "cats/1.jpg", "size": len(JPEG)},
        )
    assert (s3_root / "data/raw/photos/cats/1.jpg").read_bytes() == JPEG
    done = operator.post(f"{where}/complete", json={"files": 1})
    assert done.json()["is_complete"]
    assert audit(house) == [("complete data set", "photos", None, {"cats": 1})]
    late = operator.post(f"{where}/files", params={"path": "cats/2.jpg"}, content=JPEG)
    assert late.status_code == 409


def test_an_odd_path_is_refused(operator):
    for path in ("../1.jpg", "cats/1.exe", "1.jpg", "a/" * 9 + "1.jpg", ""):
        answer = operator.post("/api/v1/datasets/photos/files", params={"path": path}, content=JPEG)
        assert answer.status_code == 422, path


def test_a_parameter_is_set_and_written_down(house, operator):
    where = "/api/v1/parameters/Minimum-F1-Score"
    answer = operator.put(where, json={"value": "0.85", "comment": "more data", "seen": "0"})
    assert (answer.status_code, answer.json()["value"]) == (200, "0.85")
    assert audit(house) == [("set parameter", "Minimum-F1-Score", "0.8", "0.85")]
    assert operator.put(where, json={"value": 0.9, "seen": 0}).status_code == 409
    for value in (2, 10**400, "9" * 5000, None, [], True):
        assert operator.put(where, json={"value": value}).status_code == 422
    odd = operator.put(
        where, content='{"value": NaN}', headers={"content-type": "application/json"}
    )
    assert odd.status_code == 422
    assert operator.put("/api/v1/parameters/Password", json={"value": 2}).status_code == 404


REFUSED = [
    ("/runs/none-such", 422),
    ("/runs/aaaaaaaaaaaa", 404),
    (f"/runs/{RUN}/steps/None/log", 404),
    (f"/runs/{RUN}/steps/None%20such/log", 422),
    (f"/runs/{RUN}/steps/Train/log?limit=0", 422),
    (f"/runs/{RUN}/steps/Train/log?stream=other", 404),
    ("/runs?limit=101", 422),
    ("/models/0", 422),
    ("/models/9", 404),
    ("/models/three", 422),
    ("/live?hours=2", 422),
    ("/datasets/a.b", 422),
    ("/parameters/Password", 404),
]


def test_what_is_none_is_refused(operator):
    for path, status in REFUSED:
        answer = operator.get(f"/api/v1{path}")
        assert answer.status_code == status, path
        assert set(answer.json()) == {"error", "message", "request_id"}


def test_an_audit_log_that_takes_nothing_is_said_to(tmp_path, s3_root):
    (tmp_path / "audit").write_text("a file where a folder should be")
    house = busy_house(tmp_path, s3_root)
    answer = house.visitor("operator").put(
        "/api/v1/parameters/Minimum-F1-Score", json={"value": 0.9}
    )
    assert answer.status_code == 503
    assert "is done, but the audit log does not take it" in answer.json()["message"]


def test_all_routes_are_described(operator):
    paths = operator.get("/api/v1/openapi.json").json()["paths"]
    described = {
        path.removeprefix("/api/v1"): set(methods)
        for path, methods in paths.items()
        if {"runs", "models", "upkeep"} & set(next(iter(methods.values())).get("tags", ()))
    }
    assert described["/runs"] == {"get", "post"}
    assert described["/models/{version}/decision"] == {"post"}
    assert described["/parameters/{name}"] == {"get", "put"}
    assert len(described) == 22


def test_what_serves_is_told_with_its_version(operator):
    assert operator.get("/api/v1/serving").json()["version"] == 2


def test_a_deployment_on_its_way_is_followed(tmp_path, s3_root):
    house = busy_house(tmp_path, s3_root, Store(endpoint=serving(1, "Updating")))
    page = house.visitor("operator").get("/operator/serving")
    assert 'hx-get="/operator/serving"' in page.text
