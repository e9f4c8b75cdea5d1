"""The whole component: which images it takes, and what it writes of them."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from components.explain.component import choose, run
from shared.component.errors import UsageError
from shared.vision.predictor import Predictions, softmax
from shared.vision.tests.factories import Network, make_bundle, make_dataset

LABELS = np.arange(60) % 3


def answers(wrong: int) -> Predictions:
    """Return answers of varied confidence; the first `wrong` images are wrong."""
    said = np.where(np.arange(60) < wrong, (LABELS + 1) % 3, LABELS)
    margins = np.random.default_rng(0).uniform(0.1, 3, (60, 1))
    logits = (np.eye(3)[said] * margins).astype(np.float32)
    return Predictions(logits, softmax(logits), np.zeros((60, 1), np.float32))


def test_a_third_each_and_no_image_twice():
    predictions = answers(wrong=20)
    chosen = choose(predictions, LABELS, 12, 0)
    assert Counter(group for _, group in chosen) == {
        "sample": 4,
        "most wrong": 4,
        "most unsure": 4,
    }
    assert len({index for index, _ in chosen}) == 12
    groups = {name: [i for i, group in chosen if group == name] for _, name in chosen}
    wrong = np.flatnonzero(predictions.labels != LABELS)
    surest_wrong = wrong[np.argsort(-predictions.confidences[wrong])]
    assert set(groups["most wrong"]) == set(surest_wrong[:4])
    assert set(LABELS[groups["sample"]]) == {0, 1, 2}
    unsure = predictions.confidences[groups["most unsure"]].max()
    others = np.delete(predictions.confidences, [index for index, _ in chosen])
    assert unsure <= others.min()


@pytest.mark.parametrize("wrong", [0, 2])
def test_what_is_not_wrong_is_filled_with_samples(wrong):
    chosen = choose(answers(wrong), LABELS, 12, 0)
    groups = Counter(group for _, group in chosen)
    assert groups["most wrong"] == wrong
    assert len(chosen) == 12


def test_no_more_images_than_there_are():
    assert len(choose(answers(5), LABELS, 200, 0)) == 60


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"), train=2, val=2, test=4)


def explain(data, folder, **changes) -> dict:
    report = folder / "report"
    report.mkdir(parents=True, exist_ok=True)
    model = make_bundle(folder / "model", data, Network(1.0, slice(0, 3))).folder
    options = {
        "images": 3,
        "methods": "grad_cam, occlusion,integrated_gradients,noise_tunnel",
        "integration_steps": 8,
        "seed": 0,
    }
    run(dataset=data.folder, model=model, report=report, **(options | changes))
    return json.loads((report / "report.json").read_text())


def test_writes_a_contact_sheet_and_the_same_figures_for_the_same_seed(data, tmp_path):
    document = explain(data, tmp_path)
    for method, figures in document["methods"].items():
        for area in ("deletion", "insertion"):
            areas = [image["faithfulness"][method][area] for image in document["images"]]
            assert figures[area] == pytest.approx(np.mean(areas))
    sources = {record["source"] for record in data.split("test").records()}
    assert {image["source"] for image in document["images"]} <= sources
    assert (tmp_path / "report" / "report.html").is_file()
    assert list((tmp_path / "report" / "pictures").glob("contact-sheet-*.png"))
    explain(data, tmp_path / "again")
    again = (tmp_path / "again" / "report" / "report.json").read_bytes()
    assert again == (tmp_path / "report" / "report.json").read_bytes()


def test_only_the_methods_asked_for_are_used(data, tmp_path):
    assert list(explain(data, tmp_path, methods="occlusion")["methods"]) == ["occlusion"]


@pytest.mark.parametrize("methods", ["grad_cam,lime", "", " , "])
def test_an_unknown_method_is_refused_before_any_work(data, tmp_path, methods):
    with pytest.raises(UsageError, match="choose from grad_cam, integrated_gradients"):
        explain(data, tmp_path, methods=methods)
    assert not list((tmp_path / "report").iterdir())
