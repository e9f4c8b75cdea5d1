"""From people's answers to labels, through the real Label Studio and S3."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from components.labeling.errors import StudioAwayError, StudioError
from components.labeling.guard import SECRET_HEADER
from shared.vision.tests.factories import colour_image
from tests.labelstudio.conftest import House, OpenDesk
from tests.labelstudio.desk import Desk, result_of
from tests.labelstudio.world import DATA, await_true

pytestmark = pytest.mark.labelstudio


def test_one_answer_becomes_a_label_and_a_sync_of_the_same_starts_nothing(desk: Desk) -> None:
    (sha256, *_) = desk.put(3)
    desk.sync(min_shared=1000)
    desk.annotate("anna", desk.task_of(sha256), "red")
    desk.sync(min_shared=1000)
    assert desk.labels() == {sha256: "red"}
    current = f"{desk.name}/labels/current.json"
    before = desk.storage.client.head_object(Bucket=DATA, Key=current)
    written = desk.storage.keys(DATA, f"{desk.name}/labels/")
    (target,) = desk.owner.get("/api/storages/export/s3", project=desk.project)
    for _ in range(2):
        desk.owner.post(f"/api/storages/export/s3/{target['id']}/sync")  # rewrites everything
        assert desk.sync(min_shared=1000).problems == {}
    after = desk.storage.client.head_object(Bucket=DATA, Key=current)
    assert (after["ETag"], after["LastModified"]) == (before["ETag"], before["LastModified"])
    assert desk.storage.keys(DATA, f"{desk.name}/labels/") == written


def test_an_updated_answer_counts_as_updated_and_a_deleted_one_no_more(desk: Desk) -> None:
    first, second, *_ = desk.put(3)
    desk.sync()
    number = desk.annotate("anna", desk.task_of(first), "red")
    other = desk.annotate("anna", desk.task_of(second), "blue")
    desk.sync()
    assert desk.labels() == {first: "red", second: "blue"}
    desk.person("anna").patch(f"/api/annotations/{number}/", {"result": result_of("green")})
    desk.person("anna").delete(f"/api/annotations/{other}/")
    desk.sync()
    assert desk.annotation(other) is None
    assert desk.labels() == {first: "green"}


def test_what_label_studio_lets_through_becomes_no_label(desk: Desk) -> None:
    hashes = desk.put(4)
    desk.sync()
    tasks = [desk.task_of(sha256) for sha256 in hashes]
    desk.annotate("anna", tasks[0], "purple")
    desk.annotate("anna", tasks[1])
    desk.annotate("anna", tasks[2], "red", was_cancelled=True)
    desk.annotate("anna", tasks[3], "red")
    assert desk.sync().problems == {}
    assert desk.labels() == {hashes[3]: "red"}


def test_two_people_who_disagree_decide_nothing_and_two_who_agree_do(
    desk: Desk, tmp_path: Path
) -> None:
    hashes = desk.put(8)
    desk.sync(overlap_percent=100)
    for number, sha256 in enumerate(hashes):
        task = desk.task_of(sha256)
        desk.annotate("anna", task, ("blue", "green", "red")[number % 3])
        desk.annotate("ben", task, "red" if number == 0 else ("blue", "green", "red")[number % 3])
    report = str(tmp_path / "report")
    desk.sync(overlap_percent=100, min_alpha=-1.0, report=report)
    status = desk.backend.command("status", "--report", report)
    assert status.returncode == 0, status.stderr
    assert "alpha" in status.stdout
    assert (tmp_path / "report" / "report.html").stat().st_size > 1000
    said = desk.labels()
    assert hashes[0] not in said
    assert {sha256: said[sha256] for sha256 in hashes[1:]} == {
        sha256: ("blue", "green", "red")[number % 3]
        for number, sha256 in enumerate(hashes)
        if number
    }


def test_s3_away_during_a_submit_loses_nothing(desk: Desk, house: House) -> None:
    (sha256, *_) = desk.put(2)
    desk.sync()
    task = desk.task_of(sha256)
    desk.person("anna")
    house.storage.stop()
    try:
        with pytest.raises((StudioError, StudioAwayError)):  # the page shows an error
            desk.annotate("anna", task, "green")
        problems = desk.sync().problems
        assert {"project", "merge"} <= problems.keys()
    finally:
        house.storage.start()
    assert desk.storage.keys(DATA, f"{desk.name}/annotations/") == []
    assert desk.sync().problems == {}
    assert desk.labels() == {sha256: "green"}


@contextmanager
def _listening() -> Iterator[tuple[str, list[str]]]:
    """Give an address on this machine and the requests that come to it."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_addresses_in_task_data_are_never_followed(desk: Desk) -> None:
    desk.put(1)
    desk.sync()
    key = f"{desk.name}-elsewhere/review/images/{'a' * 64}.png"
    desk.storage.client.put_object(Bucket="data", Key=key, Body=b"secret")
    with _listening() as (address, seen):
        places = [
            "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
            f"{address}/x.png",
            "file:///etc/passwd",
            f"s3://data/{key}",
            f"s3://capture/{desk.name}/review/images/../../{desk.name}-elsewhere/{'a' * 64}.png",
            f"s3://capture/{desk.name}/review/gold.json",
        ]
        desk.owner.post(
            f"/api/projects/{desk.project}/import?return_task_ids=true",
            [{"data": {"image": place}} for place in places],
        )
        sync = desk.sync()
        assert "suggestions" in sync.problems
        assert len(desk.predictions()) == 1
        assert seen == []
    log = desk.backend.log.read_text()
    assert "place=6" in log
    assert "169.254.169.254" in log


def test_a_webhook_brings_the_labels_within_seconds(open_a_desk: OpenDesk) -> None:
    desk = open_a_desk("--every-s", "3600")  # serve syncs once, and then only when hinted
    await_true(lambda: "merge: objects" in desk.backend.log.read_text(), "the first round")
    (sha256,) = desk.put(1)
    desk.sync()
    desk.annotate("anna", desk.task_of(sha256), "green")
    await_true(lambda: desk.labels() == {sha256: "green"}, "the label")


def test_a_webhook_with_a_wrong_secret_is_refused(desk: Desk) -> None:
    (sha256,) = desk.put(1)
    desk.sync()
    (webhook,) = desk.owner.get("/api/webhooks/", project=desk.project)
    actions = {"actions": webhook["actions"], "headers": {SECRET_HEADER: "wrong"}}
    desk.owner.patch(f"/api/webhooks/{webhook['id']}/", actions)
    desk.annotate("anna", desk.task_of(sha256), "green")
    await_true(lambda: "/webhook refused" in desk.backend.log.read_text(), "the refusal")


def test_gold_images_are_labelled_like_others_and_never_trained_on(
    desk: Desk, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("gold")
    for colour in ("blue", "red"):
        (folder / colour).mkdir()
        (folder / colour / "1.png").write_bytes(colour_image(colour, 77777, noise=60))
    plain, *_ = desk.put(1)
    done = desk.backend.command("gold", "--gold", str(folder))
    assert done.returncode == 0, done.stderr
    assert desk.backend.command("gold", "--gold", str(folder)).returncode == 0
    desk.sync()
    tasks = desk.tasks()
    assert len(tasks) == 3
    shown = {task: bool(p["result"]) for task, p in desk.predictions().items()}
    assert [task for task, is_shown in shown.items() if is_shown] == [desk.task_of(plain)]
    for task in tasks:
        desk.annotate("anna", task["id"], "red")
    desk.sync(min_gold=0.0)
    assert desk.labels() == {plain: "red"}
