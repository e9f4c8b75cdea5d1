"""The whole component: every published figure follows from the bundle and the images."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn import metrics as sklearn_metrics

from components.evaluate.component import run
from shared.vision.bundle import ARCHIVE, open_bundle, pack
from shared.vision.errors import BundleError
from shared.vision.tests.factories import COLOURS, SIZE, Network, make_bundle, make_dataset

DEFAULTS = {
    "champion": "",
    "min_accuracy": 0.5,
    "min_macro_f1": 0.5,
    "min_class_recall": 0.2,
    "max_regression": 0.01,
    "robustness_images": 6,
    "attack_images": 3,
    "bootstrap_samples": 100,
    "seed": 0,
}


def hesitant(bias: float = 1.0) -> Network:
    """Return a network that takes about half of the green images for blue at `bias` 1."""
    sharpness = 8.0
    network = Network(sharpness, region=slice(0, 1))
    blue, green = (np.array(COLOURS[name]) / 127.5 - 1 for name in ("blue", "green"))
    with torch.no_grad():
        network.head.bias[0] += bias * sharpness * float(np.square(blue - green).sum()) / 2
    return network


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"), train=2, val=8, test=16)


def evaluate(data, model: Path, out: Path, **changes) -> tuple[dict, dict]:
    """Run the component and return evaluation.json and report.json."""
    folders = {name: out / name for name in ("metrics", "report")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    run(dataset=data.folder, model=model, **(DEFAULTS | changes), **folders)
    return (
        json.loads((out / "metrics" / "evaluation.json").read_text()),
        json.loads((out / "report" / "report.json").read_text()),
    )


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """Return the output folder of one evaluation, its model and its documents."""
    out = tmp_path_factory.mktemp("evaluation")
    bundle = make_bundle(out / "model", data, hesitant())
    return out, bundle, *evaluate(data, bundle.folder, out)


def logits_by_hand(data, bundle) -> np.ndarray:
    """Answer for the test split with nothing of ours but the shards' reader."""
    spec = json.loads((bundle.folder / "bundle.json").read_text())["transform"]
    test, inputs = data.split("test"), []
    for index in range(len(test)):
        image = Image.open(io.BytesIO(test.read(index))).convert("RGB")
        image = image.resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        inputs.append((np.asarray(image) / 255 - spec["mean"]) / spec["std"])
    module = torch.jit.load(str(bundle.folder / "model.ts")).eval()
    with torch.inference_mode():
        logits, _ = module(torch.tensor(np.stack(inputs), dtype=torch.float32).permute(0, 3, 1, 2))
    return logits.numpy()


def test_accuracy_and_macro_f1_follow_from_the_bundle_and_the_images(data, finished):
    _, bundle, evaluation, _ = finished
    truth = data.split("test").labels
    said = logits_by_hand(data, bundle).argmax(1)
    found = evaluation["metrics"]
    assert 0.6 < found["accuracy"] < 1.0  # or the comparison below would say little
    assert found["accuracy"] == pytest.approx((said == truth).mean(), abs=1e-6)
    expected = sklearn_metrics.f1_score(truth, said, average="macro")
    assert found["macro_f1"] == pytest.approx(expected, abs=1e-6)
    recalls = sklearn_metrics.recall_score(truth, said, average=None)
    assert found["min_class_recall"] == pytest.approx(recalls.min(), abs=1e-6)


def test_predictions_csv_holds_every_test_image_with_its_logits(data, finished):
    out, bundle, evaluation, _ = finished
    with (out / "report" / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["sha256"] for row in rows] == [r["sha256"] for r in data.split("test").records()]
    logits = np.array([[float(row[f"logit_{name}"]) for name in data.classes] for row in rows])
    assert np.allclose(logits, logits_by_hand(data, bundle), atol=1e-4)
    accuracy = np.mean([row["label"] == row["predicted"] for row in rows])
    assert evaluation["metrics"]["accuracy"] == pytest.approx(accuracy, abs=1e-6)


def test_the_report_opens_with_sagemakers_model_quality_statistics(data, finished):
    out, bundle, _, report = finished
    quality = report["multiclass_classification_metrics"]
    truth, said = data.split("test").labels, logits_by_hand(data, bundle).argmax(1)
    confusion = sklearn_metrics.confusion_matrix(truth, said)
    names = data.classes
    assert quality["confusion_matrix"] == {
        true: dict(zip(names, map(int, row), strict=True))
        for true, row in zip(names, confusion, strict=True)
    }
    values = sklearn_metrics.precision_recall_fscore_support(truth, said, average="weighted")
    for name, value in zip(("precision", "recall", "f1"), values[:3], strict=True):
        assert quality[f"weighted_{name}"]["value"] == pytest.approx(value, abs=1e-6)
    assert (out / "report" / "report.html").stat().st_size > 10_000


def test_gates_are_held_against_the_same_scalars(finished):
    _, _, evaluation, _ = finished
    gates = evaluation["gates"]
    assert gates["passed"] is all(gate["passed"] for gate in gates["results"])
    for gate in gates["results"]:
        assert gate["value"] == evaluation["metrics"][gate["metric"]]


def test_a_failed_gate_is_written_and_not_raised(data, finished, tmp_path):
    _, bundle, _, _ = finished
    evaluation, report = evaluate(data, bundle.folder, tmp_path, min_accuracy=0.999)
    assert evaluation["gates"]["passed"] is False
    failed = [gate["name"] for gate in evaluation["gates"]["results"] if not gate["passed"]]
    assert failed == ["min_accuracy"]
    assert "FAILED by" in report["gates"][0]


def test_a_challenger_is_compared_with_the_champion(data, finished, tmp_path):
    _, bundle, before, _ = finished
    champion = tmp_path / "champion" / ARCHIVE
    pack(make_bundle(tmp_path / "better", data, Network()).folder, champion)
    evaluation, report = evaluate(data, bundle.folder, tmp_path, champion=str(champion))
    lost = 1.0 - before["metrics"]["accuracy"]
    assert evaluation["metrics"]["regression"] == pytest.approx(lost, abs=1e-6)
    assert report["champion"]["champion_accuracy"] == 1.0
    failed = [gate["name"] for gate in evaluation["gates"]["results"] if not gate["passed"]]
    assert failed == ["max_regression"]


def test_a_champion_of_other_classes_stops_nothing(data, finished, tmp_path):
    _, bundle, _, _ = finished
    other = make_bundle(tmp_path / "other", classes=("azure", "green", "red"))
    evaluation, report = evaluate(data, bundle.folder, tmp_path, champion=str(other.folder))
    assert evaluation["metrics"]["regression"] == 0.0
    assert "other classes" in report["champion"]["none"]


def test_the_same_seed_gives_the_same_files(data, finished, tmp_path):
    out, bundle, _, _ = finished
    evaluate(data, bundle.folder, tmp_path)
    for file in ("metrics/evaluation.json", "report/report.json", "report/predictions.csv"):
        assert (tmp_path / file).read_bytes() == (out / file).read_bytes()


def test_the_temperature_changes_no_answer_and_is_stored_nowhere_yet(data, finished):
    _, bundle, evaluation, _ = finished
    assert evaluation["metrics"]["temperature"] != 1.0
    with open_bundle(bundle.folder) as opened:
        assert opened.info.temperature == 1.0  # register packs it, after the gates


def test_a_model_trained_beside_another_test_set_is_refused(data, tmp_path):
    other = make_dataset(tmp_path / "other", test=9)
    bundle = make_bundle(tmp_path / "model", other)
    with pytest.raises(BundleError, match="trained beside another test set"):
        evaluate(data, bundle.folder, tmp_path)
    assert not list((tmp_path / "metrics").iterdir())


def test_a_model_of_other_classes_is_refused(data, tmp_path):
    bundle = make_bundle(tmp_path / "model", data, classes=("azure", "green", "red"))
    with pytest.raises(BundleError, match=r"knows the classes azure, green, red.*has blue"):
        evaluate(data, bundle.folder, tmp_path)
