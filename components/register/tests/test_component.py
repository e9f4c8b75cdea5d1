"""The package is complete, answers as it promises, and is the same for the same inputs."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from components.register.component import run
from components.register.golden import golden_difference
from shared.component.errors import InputError
from shared.component.files import write_json
from shared.vision.bundle import ARCHIVE, open_bundle, write_bundle
from shared.vision.drift import DriftDetector
from shared.vision.errors import BundleError
from shared.vision.predictor import Predictor
from shared.vision.report import Report
from shared.vision.tests.factories import COLOURS, make_bundle, make_dataset

QUALITY = {"accuracy": {"value": 0.95, "standard_deviation": "NaN"}}
METRICS = {
    "accuracy": 0.95,
    "macro_f1": 0.94,
    "min_class_recall": 0.9,
    "ece": 0.02,
    "relative_corruption_accuracy": 0.8,
    "temperature": 1.7,
    "regression": 0.0,
}
MEASURED = {
    "robustness": {"clean": 0.9, "corruptions": {"snow": [0.8, 0.7, 0.6, 0.5, 0.4]}},
    "champion": {"none": "there is no approved model yet"},
}
CHAPTERS = {
    "data_report": "Data",
    "evaluation_report": "Evaluation",
    "explanation_report": "Explanations",
    "drift_report": "Drift detector",
}


def write_chapter(folder: Path, title: str) -> Path:
    report = Report(title, f"What {title} found.")
    report.section(f"Section of {title}").text(f"Words of {title}.")
    report.write(folder, {"multiclass_classification_metrics": QUALITY} | MEASURED)
    return folder


@pytest.fixture
def inputs(tmp_path) -> dict[str, Path]:
    """Return the folder of every input, as the steps before write them."""
    data = make_dataset(tmp_path / "dataset", train=2, val=2, test=5)
    bundle = make_bundle(tmp_path / "model", data)
    write_chapter(bundle.folder / "training", "Training")
    write_bundle(bundle.folder, bundle.info)
    generator = np.random.default_rng(0)
    detector = DriftDetector.fit(
        generator.normal(size=(30, 3)).astype(np.float32),
        np.log(generator.dirichlet(np.ones(3), 30)).astype(np.float32),
        components=2,
        window=10,
        significance=0.05,
    )
    detector.save(tmp_path / "detector")
    gates = {"passed": True, "results": []}
    write_json(tmp_path / "metrics" / "evaluation.json", {"metrics": METRICS, "gates": gates})
    folders = {name: tmp_path / name for name in ("dataset", "model", "detector", "metrics")}
    chapters = {name: write_chapter(tmp_path / name, title) for name, title in CHAPTERS.items()}
    return folders | chapters


def register(inputs: dict[str, Path], out: Path, golden_images: int = 7) -> tuple[Path, Path]:
    """Run the component; return the archive and the report folder."""
    folders = {name: out / name for name in ("package", "report")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    run(**inputs, golden_images=golden_images, seed=0, **folders)
    return folders["package"] / ARCHIVE, folders["report"]


def test_the_package_holds_what_serves_and_nothing_of_training(inputs, tmp_path):
    archive, _ = register(inputs, tmp_path / "out")
    with tarfile.open(archive) as tar:
        names = set(tar.getnames())
    fixed = {n for n in names if not n.endswith(".png")}
    assert fixed == {
        "bundle.json",
        "model.ts",
        "weights.safetensors",
        "detector/detector.json",
        "detector/detector.npz",
        "golden/golden.json",
    }
    with open_bundle(archive.parent) as bundle:
        assert set(bundle.info.files) == names - {"bundle.json"}
        assert bundle.info.temperature == METRICS["temperature"]
        assert bundle.info.metrics["test_accuracy"] == METRICS["accuracy"]
        assert DriftDetector.load(bundle.folder / "detector").window == 10


@pytest.fixture(scope="module")
def network_file(tmp_path_factory) -> bytes:
    bundle = make_bundle(tmp_path_factory.mktemp("onnx") / "b", has_onnx=True)
    return (bundle.folder / "model.onnx").read_bytes()


def with_onnx(inputs: dict[str, Path], data: bytes) -> None:
    """Give the trained bundle a model.onnx that train found to agree."""
    (inputs["model"] / "model.onnx").write_bytes(data)
    with open_bundle(inputs["model"]) as bundle:
        write_bundle(bundle.folder, replace(bundle.info, onnx_parity=1e-6))


def test_onnx_that_gives_the_golden_answers_is_packed(inputs, tmp_path, network_file):
    with_onnx(inputs, network_file)
    archive, _ = register(inputs, tmp_path / "out")
    with open_bundle(archive) as bundle:
        assert bundle.onnx.read_bytes() == network_file
        assert golden_difference(bundle.folder / "golden", Predictor(bundle, engine="onnx")) < 1e-4


@pytest.mark.parametrize("damage", ["other weights", "no network"])
def test_onnx_that_answers_otherwise_is_left_out_and_said_so(
    inputs, tmp_path, network_file, caplog, damage
):
    weight = (8 * torch.tensor(COLOURS["red"]) / 127.5 - 8).numpy().tobytes()
    assert weight in network_file
    other = network_file.replace(weight, weight[:8] + b"\0\0\0\0")
    with_onnx(inputs, other if damage == "other weights" else b"no network")
    archive, _ = register(inputs, tmp_path / "out")
    with open_bundle(archive) as bundle:
        assert "model.onnx" not in bundle.info.files
        assert bundle.info.onnx_parity is None
        assert golden_difference(bundle.folder / "golden", Predictor(bundle, engine="auto")) < 1e-5
    assert "no model.onnx in the package, TorchScript serves" in caplog.text
    assert ("differs from the golden" in caplog.text) == (damage == "other weights")


def test_a_fresh_predictor_gives_the_golden_answers(inputs, tmp_path):
    archive, _ = register(inputs, tmp_path / "out")
    with open_bundle(archive) as bundle:
        golden = bundle.folder / "golden"
        document = json.loads((golden / "golden.json").read_text())
        images = [(golden / entry["file"]).read_bytes() for entry in document["images"]]
        predictor = Predictor(bundle)
    answers = np.stack([predictor.predict([image]).probabilities[0] for image in images])
    expected = [entry["probabilities"] for entry in document["images"]]
    assert np.abs(answers - expected).max() < 1e-5
    assert tuple(document["classes"]) == predictor.classes


def test_the_classes_take_turns_in_the_golden_images(inputs, tmp_path):
    archive, _ = register(inputs, tmp_path / "out", golden_images=7)
    with open_bundle(archive) as bundle:
        entries = json.loads((bundle.folder / "golden" / "golden.json").read_text())["images"]
    labels = [entry["label"] for entry in entries]
    assert len(labels) == 7
    assert set(Counter(labels).values()) == {2, 3}
    assert labels[:3] == labels[3:6]


def test_more_golden_images_than_there_are_take_all(inputs, tmp_path):
    archive, report = register(inputs, tmp_path / "out", golden_images=200)
    with open_bundle(archive) as bundle:
        entries = json.loads((bundle.folder / "golden" / "golden.json").read_text())["images"]
    assert len({entry["file"] for entry in entries}) == 15
    assert json.loads((report / "report.json").read_text())["golden_images"] == 15


def test_the_report_tells_what_people_look_at_before_they_approve(inputs, tmp_path):
    archive, report = register(inputs, tmp_path / "out")
    document = json.loads((report / "report.json").read_text())
    assert document["metrics"] == METRICS
    assert {name: document[name] for name in MEASURED} == MEASURED
    with open_bundle(archive) as bundle:
        assert document["model"] == {
            "name": bundle.info.model_name,
            "image_size": bundle.info.transform.image_size,
            "classes": 3,
            "dataset_fingerprint": bundle.info.dataset_fingerprint,
            "code_version": bundle.info.code_version,
        }


def test_the_same_inputs_give_the_same_bytes(inputs, tmp_path):
    archives = [register(inputs, tmp_path / name)[0] for name in ("one", "two")]
    assert archives[0].read_bytes() == archives[1].read_bytes()


def test_the_one_page_has_a_chapter_of_every_step(inputs, tmp_path):
    _, report = register(inputs, tmp_path / "out")
    html = (report / "index.html").read_text()
    titles = ["Summary", "Data", "Training", "Evaluation", "Explanations", "Drift detector"]
    assert re.findall(r'<h2 id="[^"]+"[^>]*>([^<]+)<', html) == titles
    for title in titles[1:]:
        assert f"Words of {title}." in html
    statistics = json.loads((report / "statistics.json").read_text())
    assert statistics == {"multiclass_classification_metrics": QUALITY}


def test_a_model_of_another_data_set_is_refused(inputs, tmp_path):
    other = make_dataset(tmp_path / "other", train=3, val=2, test=5)
    with pytest.raises(BundleError, match="trained on another data set"):
        register(inputs | {"dataset": other.folder}, tmp_path / "out")
    assert not list((tmp_path / "out" / "package").iterdir())


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_missing_report_is_named(inputs, tmp_path, name):
    (inputs[name] / "report.html").unlink()
    with pytest.raises(InputError, match=rf"{name}/report\.html is missing"):
        register(inputs, tmp_path / "out")


def test_a_missing_evaluation_is_named(inputs, tmp_path):
    shutil.rmtree(inputs["metrics"])
    with pytest.raises(InputError, match=r"evaluation\.json is no evaluation"):
        register(inputs, tmp_path / "out")
