"""Setup and sync against the real Label Studio: made, repaired, kept in step."""

from __future__ import annotations

import json

import pytest

from components.labeling.errors import StudioError
from components.labeling.guard import SECRET_HEADER
from tests.labelstudio.conftest import House, OpenDesk
from tests.labelstudio.desk import Desk
from tests.labelstudio.world import BACKEND

pytestmark = pytest.mark.labelstudio
WRONG = "not-the-one"


def test_setup_makes_the_project_and_a_second_one_changes_nothing(desk: Desk) -> None:
    desk.put(3)
    first, second = desk.backend.command("setup"), desk.backend.command("setup")
    assert first.returncode == 0, first.stderr
    assert [line.partition(" ")[0] for line in first.stdout.splitlines()] == [
        *("project", "project", "source", "target", "webhook", "backend"),
    ]
    assert second.stdout == "nothing to change\n"
    for secret in ("of-the-backend", "of-the-webhook", "of-the-owner"):
        assert secret not in first.stdout + first.stderr


def test_an_empty_queue_gets_its_source_with_the_first_image(desk: Desk) -> None:
    made = desk.backend.command("setup")
    assert made.returncode == 0, made.stderr
    assert "no source yet" in made.stdout
    assert desk.sync().problems == {}
    desk.put(3)
    assert desk.sync().problems == {}
    assert len(desk.tasks()) == 3


def test_what_is_changed_by_hand_is_repaired(desk: Desk) -> None:
    desk.put(3)
    desk.sync()
    project = f"/api/projects/{desk.project}/"
    desk.owner.patch(project, {"sampling": "Sequential sampling", "maximum_annotations": 1})
    (webhook,) = desk.owner.get("/api/webhooks/", project=desk.project)
    assert webhook["headers"] == {SECRET_HEADER: BACKEND["VISIONLOOP_WEBHOOK_SECRET"]}
    changed = {"headers": {}, "is_active": False, "actions": webhook["actions"]}
    desk.owner.patch(f"/api/webhooks/{webhook['id']}/", changed)
    (source,) = desk.owner.get("/api/storages/s3", project=desk.project)
    desk.owner.patch(f"/api/storages/s3/{source['id']}", {"presign": True})
    (backend,) = desk.owner.get("/api/ml", project=desk.project)
    desk.owner.delete(f"/api/ml/{backend['id']}")
    repaired = desk.backend.command("setup").stdout.splitlines()
    assert repaired == [
        "project repaired: sampling, maximum_annotations",
        "source repaired: presign",
        "webhook repaired: headers, is_active",
        "backend created",
    ]
    assert desk.owner.get(project)["sampling"] == "Uncertainty sampling"


def test_a_source_that_two_setups_made_at_once_is_there_once(desk: Desk) -> None:
    desk.put(1)
    desk.sync()
    (source,) = desk.owner.get("/api/storages/s3", project=desk.project)
    kept = ("project", "bucket", "prefix", "use_blob_urls", "recursive_scan", "presign", "title")
    desk.owner.post("/api/storages/s3", {name: source[name] for name in kept})
    assert desk.backend.command("setup").stdout == "source was there twice, one removed\n"
    assert desk.sync().problems == {}
    assert len(desk.tasks()) == 1


def test_every_task_gets_a_suggestion_and_the_least_sure_one_is_served_first(desk: Desk) -> None:
    desk.put(6)
    desk.put(3, noise=200)
    sync = desk.sync()
    assert sync.problems == {}
    predictions = desk.predictions()
    assert len(predictions) == len(desk.tasks()) == 9
    assert {p["model_version"] for p in predictions.values()} == {"1"}
    least = min(predictions.values(), key=lambda p: float(p["score"]))
    served = desk.person("anna").get(f"/api/projects/{desk.project}/next")
    assert served["id"] == least["task"]
    assert all("data" not in t or list(t["data"]) == ["image"] for t in desk.tasks())


def test_a_measured_image_is_served_by_its_score_and_shows_no_suggestion(desk: Desk) -> None:
    desk.put(4)
    (audit,) = desk.put(1, noise=220, is_audit=True)
    desk.sync()
    prediction = desk.predictions()[desk.task_of(audit)]
    assert prediction["result"] == []
    assert prediction["score"] == min(p["score"] for p in desk.predictions().values())
    served = desk.person("anna").get(f"/api/projects/{desk.project}/next")
    assert served["id"] == desk.task_of(audit)
    assert [p["result"] for p in served["predictions"]] == [[]]


def test_a_new_model_brings_new_suggestions_for_what_is_open(desk: Desk, house: House) -> None:
    hashes = desk.put(4)
    desk.sync()
    done = desk.task_of(hashes[0])
    for name in ("anna", "ben"):
        desk.annotate(name, done, "blue")
    house.door.lead_to(house.versions["2"])
    assert desk.sync().problems == {}
    versions = {task: p["model_version"] for task, p in desk.predictions().items()}
    assert {task for task, version in versions.items() if version == "1"} == {done}
    assert desk.owner.get(f"/api/projects/{desk.project}/")["model_version"] == "2"


def test_with_the_endpoint_down_tasks_stay_without_suggestion_and_are_asked_again(
    desk: Desk, house: House
) -> None:
    desk.put(3)
    desk.sync()
    desk.put(3)
    house.door.lead_to(None)
    assert "project" in desk.sync().problems  # nothing is known of the model
    (source,) = desk.owner.get("/api/storages/s3", project=desk.project)
    desk.owner.post(f"/api/storages/s3/{source['id']}/sync")
    house.door.lead_to(house.versions["1"])
    sync = desk.sync()
    assert sync.problems == {}
    assert len(desk.predictions()) == 6


def test_an_endpoint_that_goes_away_meanwhile_leaves_what_it_answered(
    desk: Desk, house: House
) -> None:
    desk.put(3)
    desk.sync()
    desk.put(5)
    (source,) = desk.owner.get("/api/storages/s3", project=desk.project)
    desk.owner.post(f"/api/storages/s3/{source['id']}/sync")
    house.door.lead_to(None)
    desk.owner.post(
        "/api/dm/actions",
        {"selectedItems": {"all": True}},
        id="retrieve_tasks_predictions",
        project=desk.project,
    )
    assert len(desk.predictions()) == 3  # it says that it has retrieved them
    status = desk.backend.command("status")
    assert status.returncode == 1
    assert "not connected" in status.stdout
    house.door.lead_to(house.versions["1"])
    assert desk.sync().problems == {}
    assert len(desk.predictions()) == 8
    status = desk.backend.command("status", "--as-json", "true")
    assert status.returncode == 0, status.stderr
    told = json.loads(status.stdout)
    assert (told["tasks"], told["without_suggestion"], told["predictions"]) == (8, 0, {"1": 8})


def test_four_hundred_tasks_are_predicted_in_one_request(desk: Desk) -> None:
    desk.put(400)
    assert desk.sync(chunk=400).problems == {}
    assert len(desk.predictions()) == 400
    assert "predict: tasks=400 predicted=400" in desk.backend.log.read_text()


def test_a_wrong_password_is_told_by_setup(desk: Desk) -> None:
    desk.put(1)
    desk.backend.environ["VISIONLOOP_BACKEND_PASSWORD"] = WRONG
    refused = desk.backend.command("setup")
    assert refused.returncode == 1
    assert "401" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_project_with_other_labels_gets_no_suggestion_until_setup_repairs_it(
    desk: Desk,
) -> None:
    desk.put(1)
    desk.sync()
    desk.put(2)
    path = f"/api/projects/{desk.project}/"
    config = desk.owner.get(path)["label_config"].replace('"red"', '"purple"')
    desk.owner.patch(path, {"label_config": config})
    (source,) = desk.owner.get("/api/storages/s3", project=desk.project)
    desk.owner.post(f"/api/storages/s3/{source['id']}/sync")
    desk.owner.post(
        "/api/dm/actions",
        {"selectedItems": {"all": True}},
        id="retrieve_tasks_predictions",
        project=desk.project,
    )
    (backend,) = desk.owner.get("/api/ml", project=desk.project)
    assert backend["state"] == "ER"
    assert "purple" in backend["error_message"]  # what people are shown
    assert len(desk.predictions()) == 1
    assert desk.sync().problems == {}
    assert len(desk.predictions()) == 3


def test_an_unknown_owner_is_refused_in_one_line(open_a_desk: OpenDesk) -> None:
    desk = open_a_desk()
    desk.backend.environ["LABEL_STUDIO_PASSWORD"] = WRONG
    refused = desk.backend.command("sync")
    assert refused.returncode == 1
    assert "may not log in" in refused.stderr
    assert WRONG not in refused.stderr
    with pytest.raises(StudioError, match="404"):
        desk.owner.get("/api/projects/999999/")
