"""The ML backend as Label Studio meets it: batches, deadlines, passwords, odd tasks."""

from __future__ import annotations

import http.client
import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from components.labeling.guard import SECRET_HEADER
from components.labeling.label_config import write_config
from components.labeling.settings import Secrets
from components.labeling.tests.backend import AUTH, LABELS, Stage, away, model_error, serving


@pytest.fixture
def stage() -> Iterator[Stage]:
    with serving() as stage:
        yield stage


def test_a_suggestion_has_the_models_label_version_and_score(stage: Stage) -> None:
    (said,) = stage.results([stage.queue.put(b"dog 0.875")])
    assert (said["model_version"], said["score"]) == ("7", 0.875)
    (result,) = said["result"]
    assert result["value"] == {"choices": ["dog"]}
    assert (result["from_name"], result["to_name"], result["type"]) == ("label", "image", "choices")


def test_four_hundred_tasks_are_answered_in_their_order_and_by_many_calls_at_once(
    stage: Stage,
) -> None:
    stage.runtime.before = lambda _: time.sleep(0.002)
    images = [f"{LABELS[n % 2]} 0.{600 + n}".encode() for n in range(400)]
    results = stage.results([stage.queue.put(image) for image in images])
    said = [f"{r['result'][0]['value']['choices'][0]} {r['score']:.3f}" for r in results]
    assert said == [image.decode() for image in images]
    assert stage.runtime.most_at_once == 8


def test_people_looking_are_no_traffic(stage: Stage) -> None:
    stage.setup()
    stage.results([stage.queue.put(b"dog 0.9")])
    assert [asked["CustomAttributes"] for asked in stage.runtime.asked] == ["record=false"] * 2


def test_what_has_no_answer_by_the_deadline_is_left_out_and_the_rest_is_kept() -> None:
    release = threading.Event()

    def slow(image: bytes) -> None:
        if image == b"cat 0.7":
            release.wait(20)

    with serving(deadline_s=1.0) as stage:
        stage.runtime.before = slow
        uris = [stage.queue.put(image) for image in (b"dog 0.9", b"cat 0.7", b"dog 0.8")]
        started = time.monotonic()
        results = stage.results(uris)
        took_s = time.monotonic() - started
        release.set()
    assert [bool(result) for result in results] == [True, False, True]
    assert 0.9 < took_s < 3


def test_tasks_behind_a_slow_one_start_no_calls_after_the_deadline() -> None:
    release = threading.Event()
    with serving(deadline_s=1.0, concurrency=1) as stage:
        stage.runtime.before = lambda _: release.wait(20) and None
        results = stage.results([stage.queue.put(f"dog 0.{n}".encode()) for n in range(10, 20)])
        release.set()
        assert results == [[]] * 10
        assert stage.setup().status_code == 200  # the pool is free again
        assert len(stage.runtime.asked) == 2  # the slow one and setup's


def test_an_endpoint_that_is_away_is_asked_a_few_times_and_not_for_every_task(
    stage: Stage,
) -> None:
    stage.runtime.before = away
    uris = [stage.queue.put(f"dog 0.{n}".encode()) for n in range(100, 200)]
    assert stage.results(uris) == [[]] * 100
    assert len(stage.runtime.asked) <= 8
    stage.runtime.before = lambda _: None
    assert all(stage.results(uris))  # asked again, answered


@pytest.mark.parametrize("status", [400, 413, 422, 500])
def test_an_image_that_the_model_does_not_take_spoils_no_other(
    stage: Stage, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(image: bytes) -> None:
        if image == b"bomb":
            raise model_error(status)

    stage.runtime.before = refuse
    with caplog.at_level(logging.INFO):
        results = stage.results([stage.queue.put(b"bomb"), stage.queue.put(b"dog 0.9")])
    assert [bool(result) for result in results] == [False, True]
    assert "refused=1" in caplog.text
    assert f"({status})" in caplog.text


NAME = f"{'a' * 64}.png"


@pytest.mark.parametrize(
    "uri",
    [
        "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
        "file:///etc/passwd",
        "/etc/passwd",
        f"s3://other/endpoint/review/images/{NAME}",
        f"s3://capture/elsewhere/review/images/{NAME}",
        "s3://capture/endpoint/review/gold.json",
        f"s3://capture/endpoint/review/images/../images/{NAME}",
        f"s3://capture/endpoint/review/images/%2e%2e/{NAME}",
        f"s3://capture/endpoint/review/images//{NAME}",
        f"s3://capture/endpoint/review/images/{NAME}?versionId=1",
        f"s3://capture/endpoint/review/images/{NAME}\n",
        f"s3://capture@evil/endpoint/review/images/{NAME}",
        f"S3://capture/endpoint/review/images/{NAME}",
        NAME,
        "",
        None,
        7,
        ["s3://capture"],
    ],
)
def test_only_images_of_the_queue_are_read(
    stage: Stage, uri: object, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        results = stage.results([uri, stage.queue.put(b"dog 0.9")])
    assert [bool(result) for result in results] == [False, True]
    assert len(stage.queue.read) == 1
    assert "place=1" in caplog.text


def test_an_image_that_is_gone_or_too_large_is_left_out(stage: Stage) -> None:
    large = stage.queue.put(b"x" * 1001)
    gone = stage.queue.put(b"dog 0.5")
    stage.queue.objects.pop(gone.removeprefix("s3://capture/"))
    assert stage.results([large, gone]) == [[], []]
    assert stage.runtime.asked == []


def test_audit_and_gold_images_have_a_score_and_no_suggestion(stage: Stage) -> None:
    audit, gold, plain = (stage.queue.put(image) for image in (b"cat 0.7", b"cat 0.8", b"cat 0.9"))
    hashes = [uri[-68:-4] for uri in (audit, gold)]
    stage.queue.objects[f"endpoint/review/audit/{hashes[0]}.json"] = b"{}"
    document = {"schema": 1, "gold": {hashes[1]: "cat"}}
    stage.queue.objects["endpoint/review/gold.json"] = json.dumps(document).encode()
    results = stage.results([audit, gold, plain])
    assert [(r["score"], len(r["result"])) for r in results] == [(0.7, 0), (0.8, 0), (0.9, 1)]


def test_a_share_of_the_rest_is_blind_and_always_the_same_ones() -> None:
    with serving(blind_share=0.25) as stage:
        uris = [stage.queue.put(f"cat 0.{n}".encode()) for n in range(1000, 1400)]
        first, again = stage.results(uris), stage.results(uris)
    blind = [not result["result"] for result in first]
    assert blind == [not result["result"] for result in again]
    assert 70 < sum(blind) < 130


def test_without_knowing_what_is_measured_nothing_is_suggested(stage: Stage) -> None:
    uri = stage.queue.put(b"cat 0.7")
    stage.queue.is_away = True
    assert stage.predict([uri]).status_code == 503
    stage.queue.is_away = False
    stage.queue.objects["endpoint/review/gold.json"] = b"{"
    assert stage.predict([uri]).status_code == 503
    assert stage.runtime.asked == []


def test_setup_names_the_deployed_model(stage: Stage) -> None:
    assert stage.setup().json() == {"model_version": "7"}
    assert stage.setup(("dog", "cat")).status_code == 200  # people may order choices as they like


def test_setup_refuses_other_labels_and_says_so_in_the_address_that_people_see(
    stage: Stage,
) -> None:
    response = stage.setup(("cat", "bird"))
    assert response.status_code == 409
    said = response.json()["error"]
    assert "only the model has 'dog'; only the project has 'bird'" in said
    assert "run `python -m components.labeling setup`" in said
    assert "bird" in str(response.url)  # Label Studio shows the address, not the body


def test_predict_refuses_other_labels_rather_than_name_a_wrong_class(stage: Stage) -> None:
    response = stage.predict([stage.queue.put(b"dog 0.9")], ("cat", "bird"))
    assert response.status_code == 409
    assert "bird" in response.json()["error"]


def test_setup_says_that_the_endpoint_is_away(stage: Stage) -> None:
    stage.runtime.before = away
    response = stage.setup()
    assert response.status_code == 503
    assert "live" in response.json()["error"]


@pytest.mark.parametrize(
    "schema",
    [
        "<View",
        "<View/>",
        '<!DOCTYPE x [<!ENTITY a "aaaa">]><View><Image name="i" value="$i"/></View>',
        '<View><Image name="i" value="$i"/><Choices name="a" toName="i"/></View>',
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused(stage: Stage, schema: str) -> None:
    response = stage.setup(schema=schema)
    assert response.status_code == 409
    assert "run setup" in response.json()["error"]


@pytest.mark.parametrize("auth", [None, ("studio", "wrong"), ("other", "p:w"), ("studio", "")])
def test_a_wrong_password_is_told_nothing(stage: Stage, auth: tuple[str, str] | None) -> None:
    stage.http.auth = auth
    for response in (stage.setup(), stage.predict([]), stage.http.post("/refused")):
        assert response.status_code == 401
        assert response.headers["www-authenticate"].startswith("Basic")
    assert stage.runtime.asked == []
    assert stage.http.get("/health").json() == {"status": "UP"}


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Bearer c3R1ZGlvOnA6dw==", "x" * 5000])
def test_a_malformed_password_is_a_wrong_one(stage: Stage, header: str) -> None:
    stage.http.auth = None
    assert stage.http.post("/predict", headers={"authorization": header}).status_code == 401


def test_a_webhook_is_taken_with_the_secret_or_the_password_and_only_hints(stage: Stage) -> None:
    event = {"action": "ANNOTATION_CREATED", "annotation": {"id": 1}}
    stage.http.auth = None
    for headers in ({}, {SECRET_HEADER: "wrong"}, {SECRET_HEADER: ""}):
        assert stage.http.post("/webhook", json=event, headers=headers).status_code == 403
    assert not stage.hint.is_set()
    answer = stage.http.post("/webhook", content=b"not json", headers={SECRET_HEADER: "hush"})
    assert (answer.status_code, answer.json()) == (200, {})
    assert stage.hint.is_set()
    stage.hint.clear()
    assert stage.http.post("/webhook", json=event, auth=AUTH).status_code == 200
    assert stage.hint.is_set()


def test_a_webhook_is_answered_at_once_while_predictions_take_all_the_time() -> None:
    release = threading.Event()
    with serving(deadline_s=15.0, concurrency=2) as stage:
        stage.runtime.before = lambda _: release.wait(20) and None
        uris = [stage.queue.put(f"dog 0.{n}".encode()) for n in range(10, 14)]
        asking = [
            threading.Thread(target=stage.predict, args=(uris,), daemon=True) for _ in range(6)
        ]
        for thread in asking:
            thread.start()
        try:
            started = time.monotonic()
            assert stage.http.post("/webhook").status_code == 200
            assert stage.http.get("/health").status_code == 200
            assert time.monotonic() - started < 1
        finally:
            release.set()
            for thread in asking:
                thread.join(20)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"tasks": 1}', b'{"tasks": [1]}'])
def test_a_body_that_is_no_request_is_refused(stage: Stage, body: bytes) -> None:
    response = stage.http.post(
        "/predict", content=body, headers={"content-type": "application/json"}
    )
    assert response.status_code == 400
    assert response.json()["error"]


def test_tasks_without_data_are_left_out(stage: Stage) -> None:
    config = {"label_config": write_config(LABELS)}
    odd = [None, {"text": "x"}, ["x"], "x", 7]
    tasks = [{}, *({"id": n, "data": data} for n, data in enumerate(odd))]
    response = stage.http.post("/predict", json={"tasks": tasks, **config})
    assert response.json() == {"results": [[]] * 6}


def test_a_body_beyond_the_limit_is_not_read(stage: Stage) -> None:
    address = stage.http.base_url
    connection = http.client.HTTPConnection(address.host, address.port or 0, timeout=10)
    with closing(connection):
        connection.putrequest("POST", "/predict")
        connection.putheader("Content-Length", str(33 << 20))
        connection.endheaders()  # nothing is sent, and yet it is answered
        assert connection.getresponse().status == 413

    def endless() -> Iterator[bytes]:
        yield b"["

    assert stage.http.post("/predict", content=endless()).status_code == 411


def test_without_secrets_this_machine_is_served() -> None:
    with serving(Secrets()) as stage:
        stage.http.auth = None
        assert stage.setup().status_code == 200
        assert stage.http.post("/webhook").status_code == 200


def test_the_owners_token_is_neither_kept_nor_logged(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        stage.setup(("cat", "bird"))
        stage.setup()
    assert "of-the-owner" not in caplog.text


def test_an_unknown_address_is_not_found(stage: Stage) -> None:
    assert stage.http.get("/docs").status_code == 404
    assert stage.http.get("/openapi.json").status_code == 404
