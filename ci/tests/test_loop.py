"""The loop's own parts: what it prints, whom it lets label, which folder it empties."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from ci.loop import images
from ci.loop.command import main
from ci.loop.images import Images
from ci.loop.page import lines, write_page
from ci.loop.people import Annotator, Work
from ci.loop.runs import Comparison
from ci.loop.story import Options, Told
from ci.loop.surroundings import LoopError, Place
from ci.loop.traffic import Queue, Traffic
from shared.component.errors import UsageError

SHA256 = "a" * 64
URI = f"s3://capture/endpoint/review/images/{SHA256}.jpg"
CLASSES = ("forest", "sea")


class FakeStudio:
    """Label Studio as an annotator meets it: tasks in turn, and what is answered."""

    def __init__(self, *tasks: dict[str, Any]) -> None:
        self.tasks = list(tasks)
        self.answers: list[dict[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/next"):
            if not self.tasks:
                return httpx.Response(404, json={"detail": "There are no tasks remaining"})
            return httpx.Response(200, json=self.tasks[0])
        self.answers.append(json.loads(request.content))
        self.tasks.pop(0)
        return httpx.Response(201, json={"id": 1})


def task(suggested: str = "") -> dict[str, Any]:
    """Return a task as Label Studio serves it, its image behind an address of its own."""
    region = {
        "from_name": "label",
        "to_name": "image",
        "type": "choices",
        "value": {"choices": [suggested]},
    }
    address = f"/tasks/1/resolve/?fileuri={base64.b64encode(URI.encode()).decode()}"
    prediction = {"id": 5, "score": 0.4, "result": [region] if suggested else []}
    return {"id": 1, "data": {"image": address}, "predictions": [prediction]}


def annotator(studio: FakeStudio, slips: float = 0.0) -> Annotator:
    person = Annotator("http://studio", "ann", CLASSES, slips, 0)
    person.close()
    person._http = httpx.Client(
        base_url="http://studio", transport=httpx.MockTransport(studio), trust_env=False
    )
    return person


@pytest.mark.parametrize(
    ("suggested", "origin"),
    [("sea", "prediction"), ("forest", "prediction-changed"), ("", "manual")],
)
def test_an_annotator_answers_as_the_page_does(suggested: str, origin: str) -> None:
    studio = FakeStudio(task(suggested))
    work = annotator(studio).label_next(1, lambda uri: "sea" if uri == URI else "")
    assert work == Work(URI, "sea", suggested, 0.4)
    (answer,) = studio.answers
    (region,) = answer["result"]
    assert (region["value"], region["origin"]) == ({"choices": ["sea"]}, origin)
    assert answer.get("parent_prediction") == (5 if suggested else None)
    assert answer["lead_time"] > 0


def test_an_annotator_ends_when_there_is_no_task() -> None:
    assert annotator(FakeStudio()).label_next(1, lambda _: "sea") is None


def test_an_annotator_slips_as_often_as_told() -> None:
    studio = FakeStudio(*[task("sea")] * 400)
    person = annotator(studio, slips=0.25)
    found = [person.label_next(1, lambda _: "sea") for _ in range(400)]
    wrong = sum(work is not None and work.label == "forest" for work in found)
    assert 70 <= wrong <= 130  # five standard deviations about 100


def told(tmp_path: Path, low: float = 0.01) -> Told:
    photo = tmp_path / "forest" / "1.png"
    photo.parent.mkdir(parents=True)
    from PIL import Image

    Image.new("RGB", (8, 8)).save(photo)
    known = Images(CLASSES, {"sea": [photo]}, {"sea": [photo]}, [photo], {})
    sha256 = images.sha256_of(photo)
    image = f"s3://capture/endpoint/review/images/{sha256}.png"
    accuracy = {"hits": 3, "total": 4, "share": 0.75, "low": 0.3, "high": 0.95}
    return Told(
        known,
        traffic=Traffic(10, 1, 8, 4, "1"),
        queue=Queue(3, 1),
        work=[
            Work(image, "forest", "sea", 0.3),
            Work(image, "sea", "sea", 0.6),
            Work(image, "sea", "", None),
        ],
        report={
            "labels": 2,
            "to_adjudicate": {"count": 1},
            "batches": [{"day": "2026-01-31", "alpha": None, "shared": 1}],
            "audit": [{"model_version": "1", "accuracy": accuracy}],
        },
        decision={"outcome": "start", "reason": "12 changed labels"},
        again={"outcome": "nothing_new", "reason": "all labels were trained on"},
        runs=["arn"],
        comparison=Comparison(100, 0.5, 0.6, low, 0.2),
        seconds={"people label": 3.0, "the run with people's labels": 20.0},
    )


OPTIONS = Options("sample://scenes", 240, 0.0, 0, {}, {"min-confidence": "70"})


def test_the_page_says_each_step_in_figures(tmp_path: Path) -> None:
    page = "\n".join(lines(told(tmp_path), OPTIONS))
    assert "10 images, 80.0% right; 4 answered with less than 70 %; 1 damaged" in page
    assert "3 tasks, 1 of them drawn at random" in page
    assert "2 answers saw a suggestion, 1 none" in page
    assert "first half of the tasks 30%, of the second 60%" in page
    assert "corrected           1 of 2 suggestions" in page
    assert "2 images have one now, 1 are held for adjudication" in page
    assert "not measured on 1 images" in page
    assert "3 of 4 = 75.0% (95 % interval 30.0% to 95.0%)" in page
    assert "12 changed labels: 1 run started" in page
    assert "retrain: nothing_new" in page
    assert "50.0% -> 60.0%; +10.0% (95 % interval +1.0% to +20.0%): the new model is better" in page
    assert "23 s, of which training 20 s" in page


def test_what_was_labelled_by_hand_has_no_figures_of_the_script(tmp_path: Path) -> None:
    by_hand = told(tmp_path)
    by_hand.work.clear()
    names = {line.split("  ")[0] for line in lines(by_hand, OPTIONS)}
    assert "labels" in names
    assert not names & {"pre-annotated", "corrected", "most unsure first"}


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.01, 0.2, "the new model is better"),
        (-0.01, 0.2, "no difference is proven"),
        (0.0, 0.2, "no difference is proven"),
        (-0.2, -0.01, "the new model is worse"),
    ],
)
def test_better_is_said_of_what_is_proven_alone(low: float, high: float, verdict: str) -> None:
    assert Comparison(100, 0.5, 0.6, low, high).verdict == verdict


def test_the_report_shows_what_was_corrected_and_holds_every_answer(tmp_path: Path) -> None:
    page = write_page(told(tmp_path, low=-0.01), OPTIONS, tmp_path / "out").read_text()
    assert "sea -&gt; forest" in page
    assert "no difference is proven" in page
    document = json.loads((tmp_path / "out" / "report.json").read_text())
    assert len(document["answers"]) == 3
    assert document["comparison"]["verdict"] == "no difference is proven"


def test_images_are_kept_back_by_the_seed_and_known_by_their_bytes(tmp_path: Path) -> None:
    place = Place.at(tmp_path, "http://127.0.0.1:1")
    uri = "sample://scenes?images=24&test=12&unlabelled=0&size=32"
    found = images.fetch(place, uri, 10, seed=1)
    assert sum(map(len, found.labelled.values())) == 10
    assert found.traffic
    assert {found.truth[images.sha256_of(p)] for p in found.traffic} <= set(found.classes)
    with pytest.raises(LoopError, match="pass --labelled"):
        images.fetch(place, uri, 20, seed=1)


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="holds files that are no loop's"):
        main(["--folder", str(tmp_path)])
    assert (tmp_path / "thesis.tex").exists()


def test_a_program_that_fails_is_shown_with_its_log(tmp_path: Path) -> None:
    place = Place.at(tmp_path, "http://127.0.0.1:1")
    with pytest.raises(LoopError, match=r"words failed; .*words\.log ends with:\nthe reason"):
        place.python("-c", "import sys; sys.exit('the reason')", name="words")


def test_no_key_of_the_user_reaches_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "mine")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    told = Place.at(Path(), "http://127.0.0.1:1").environ
    assert "mine" not in {value for name, value in told.items() if name.startswith("AWS_")}
