"""Rounds of sync before a Label Studio of few lines; the real one is in tests/labelstudio."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from moto import mock_aws

from components.labeling.clients import Clients
from components.labeling.guard import SECRET_HEADER
from components.labeling.settings import Secrets, Settings
from components.labeling.studio import Studio
from components.labeling.sync import Sync
from components.labeling.tests.backend import FakeRuntime
from components.labeling.tests.merge_world import body, sha256
from shared.component.spec import load_spec

SECRETS = Secrets(
    studio_token="refresh",  # noqa: S106
    backend_user="us",
    backend_password="of-the-backend",  # noqa: S106
    webhook_secret="of-the-webhook",  # noqa: S106
)
IMAGE = f"endpoint/review/images/{sha256('a')}.jpg"


class FakeStudio:
    """What sync asks: one project, its lists, its tasks. odd: addresses that answer nonsense."""

    def __init__(self) -> None:
        self.lists: dict[str, list[dict[str, Any]]] = {}
        self.project: dict[str, Any] = {}
        self.tasks: list[dict[str, Any]] = []
        self.asked: list[list[int]] = []
        self.seen: list[str] = []
        self.odd: set[str] = set()
        self.version = "7"
        self.synced = "completed"

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path, method = request.url.path, request.method
        self.seen.append(f"{method} {path}")
        if path in self.odd:
            return httpx.Response(200, json={})
        said = json.loads(request.content) if request.content else {}
        return httpx.Response(200, json=self._answer(method, path, said))

    def _answer(self, method: str, path: str, said: dict[str, Any]) -> Any:
        if path.endswith("/sync"):
            return {"status": self.synced, "traceback": "Trace\nNoSuchBucket: gone"}
        if path == "/api/dm/actions":
            return self._retrieve(said["selectedItems"]["included"])
        if path.startswith("/api/projects"):
            return self._of_project(f"{method} {path}", said)
        if method == "POST" and path != "/api/token/refresh/":
            made = said | {"id": len(self.seen), "state": "CO"}
            self.lists.setdefault(path, []).append(made)
            return made
        tasks = {"total": len(self.tasks), "tasks": self.tasks}
        known = {"/api/token/refresh/": {"access": "a"}, "/api/tasks": tasks}
        return known.get(path) or self.lists.get(path, [])

    def _of_project(self, what: str, said: dict[str, Any]) -> dict[str, Any]:
        if what == "GET /api/projects":
            return {"results": [self.project] if self.project else []}
        self.project |= said | {"id": 1}
        self.project.setdefault("model_version", "")
        return self.project

    def _retrieve(self, ids: list[int]) -> dict[str, Any]:
        self.asked.append(ids)
        for task in self.tasks:
            if task["id"] in ids:
                task["predictions_model_versions"] = self.version
        return {}

    def add_task(self, number: int, *annotations: int, versions: str = "") -> None:
        task = {
            "id": number,
            "is_labeled": bool(annotations),
            "annotations_ids": ",".join(map(str, annotations)),
            "cancelled_annotations": 0,
            "predictions_model_versions": versions,
        }
        self.tasks.append(task)


class Scene:
    """Sync, what it talks to, and a clock that is set by hand."""

    def __init__(self) -> None:
        self.s3 = boto3.client("s3")
        for bucket in ("capture", "data"):
            self.s3.create_bucket(Bucket=bucket)
        self.studio, self.now_s = FakeStudio(), 0.0
        spec = load_spec(Path(__file__).parents[1])
        ports = {
            name: "" if port.default is None else port.default for name, port in spec.inputs.items()
        }
        ports |= {"queue": "s3://capture/endpoint", "annotations": "s3://data/annotations"}
        self.settings = Settings.read(ports | {"labels": "s3://data/labels", "chunk": 2})
        self.sync: Sync = self.make()

    def make(self, kind: type[Sync] = Sync, **changes: Any) -> Any:
        runtime = FakeRuntime()
        clients = Clients(self.s3, runtime, runtime)
        studio = Studio("http://studio", SECRETS, httpx.MockTransport(self.studio))
        settings = replace(self.settings, **changes)
        return kind(settings, SECRETS, clients, studio, lambda: self.now_s, quiet_s=0)

    def put_image(self) -> None:
        self.s3.put_object(Bucket="capture", Key=IMAGE, Body=b"an image")

    def put_annotation(self, number: int) -> None:
        data = json.dumps(body(number, sha256("a"), "road")).encode()
        self.s3.put_object(Bucket="data", Key=f"annotations/{number}", Body=data)

    def syncs(self, where: str) -> int:
        return sum(
            w.startswith(f"POST /api/storages/{where}") and w.endswith("/sync")
            for w in self.studio.seen
        )


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        yield Scene()


def test_only_open_tasks_without_the_versions_suggestion_are_asked_for_in_chunks(
    scene: Scene,
) -> None:
    scene.put_image()
    scene.studio.add_task(1)
    scene.studio.add_task(2, versions="7")
    scene.studio.add_task(3, versions="6")
    scene.studio.add_task(4, 9, versions="6")
    scene.studio.add_task(5)
    scene.put_annotation(9)
    scene.sync.round()
    assert scene.sync.problems == {}
    assert scene.studio.asked == [[1, 3], [5]]
    assert scene.studio.project["model_version"] == "7"
    assert scene.syncs("s3") == 1


def test_what_is_made_shows_images_alone_and_tells_the_webhook_nothing(scene: Scene) -> None:
    """Every column of a task's data is shown to everybody; the secret comes before the backend."""
    scene.put_image()
    scene.sync.round()
    made = {path: lists[0] for path, lists in scene.studio.lists.items()}
    source, target = made["/api/storages/s3"], made["/api/storages/export/s3"]
    assert (source["bucket"], source["prefix"]) == ("capture", "endpoint/review/images")
    assert source["use_blob_urls"]
    assert source["recursive_scan"]
    assert not source["presign"]
    assert (target["bucket"], target["prefix"]) == ("data", "annotations")
    webhook = made["/api/webhooks/"]
    assert webhook["headers"] == {SECRET_HEADER: SECRETS.webhook_secret}
    assert not webhook["send_payload"]
    posts = [word for word in scene.studio.seen if word.startswith("POST ")]
    assert posts.index("POST /api/webhooks/") < posts.index("POST /api/ml")
    assert made["/api/ml"]["basic_auth_pass"] == SECRETS.backend_password
    before = len(posts)
    scene.sync.round()
    again = [word for word in scene.studio.seen if word.startswith(("POST ", "PATCH "))][before:]
    assert [word for word in again if not word.endswith(("/sync", "/refresh/"))] == []


def test_suggestions_that_did_not_come_are_told_whatever_label_studio_reports(
    scene: Scene,
) -> None:
    scene.studio.add_task(1)
    scene.studio.version = "6"
    scene.sync.round()
    assert "1 of 1 tasks have no suggestion" in scene.sync.problems["suggestions"]
    assert scene.studio.project["model_version"] == ""  # Label Studio takes no other


def test_annotations_that_s3_lacks_are_written_again_at_once_and_all_now_and_then(
    scene: Scene,
) -> None:
    scene.studio.add_task(1, 9, versions="7")
    scene.put_annotation(9)
    for now_s, syncs in ((0.0, 1), (10.0, 1), (3599.0, 1), (3601.0, 2)):
        scene.now_s = now_s
        scene.sync.round()
        assert scene.syncs("export") == syncs
    scene.studio.add_task(2, 10, versions="7")
    scene.sync.round()
    assert scene.syncs("export") == 3


def test_a_sync_that_label_studio_could_not_do_says_why(scene: Scene) -> None:
    scene.put_image()
    scene.studio.add_task(1, 9, versions="7")
    scene.studio.synced = "failed"
    scene.sync.round()
    assert "source is failed: NoSuchBucket: gone" in scene.sync.problems["images"]
    assert "target is failed" in scene.sync.problems["annotations"]
    scene.studio.synced = "completed"
    scene.sync.round()
    assert scene.sync.problems == {}


def test_without_label_studio_what_was_annotated_is_merged_all_the_same(scene: Scene) -> None:
    scene.studio.odd.add("/api/token/refresh/")
    scene.put_annotation(9)
    scene.s3.put_object(Bucket="capture", Key="endpoint/review/gold.json", Body=b"{")
    scene.sync.round()
    assert set(scene.sync.problems) == {"project", "merge"}
    assert "gold.json" in scene.sync.problems["merge"]


@pytest.mark.parametrize("address", ["/api/projects", "/api/tasks"])
def test_an_odd_answer_ends_its_part_and_neither_the_round_nor_the_thread(
    scene: Scene, address: str
) -> None:
    """A thread that dies beside a server in good health would bring no label ever again."""
    scene.studio.odd.add(address)
    scene.sync.round()
    assert scene.sync.problems
    assert "merge" not in scene.sync.problems
    scene.studio.odd.clear()
    scene.studio.lists.clear()
    scene.sync.round()
    assert scene.sync.problems == {}


class _Counting(Sync):
    """Tells of rounds and merges, and does nothing."""

    rounds = 0

    def round(self) -> None:
        self.rounds += 1

    def merge(self) -> None:
        self.merged.set()

    merged: threading.Event


def test_a_hint_brings_a_merge_and_no_round(scene: Scene) -> None:
    sync = scene.make(_Counting, every_s=3600.0)
    sync.merged = threading.Event()
    stop, hint = threading.Event(), threading.Event()
    thread = threading.Thread(target=sync.run, args=(stop, hint))
    thread.start()
    try:
        hint.set()
        assert sync.merged.wait(10)
    finally:
        stop.set()
        hint.set()
        thread.join(10)
    assert sync.rounds == 1
    assert not thread.is_alive()
