"""The whole component: a detector that is silent at home and alarms abroad."""

from __future__ import annotations

import json

import numpy as np
import pytest

from components.fit_detector import component
from shared.component.errors import InputError
from shared.vision.drift import DriftDetector
from shared.vision.predictor import Predictor
from shared.vision.tests.factories import Network, make_bundle, make_dataset, sample

DEFAULTS = {
    "window": 20,
    "significance": 0.1,
    "clean_windows": 200,
    "drifted_windows": 10,
    "components": 2,
    "seed": 0,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data"), train=2, val=20, test=30)


@pytest.fixture(scope="module")
def bundle(data, tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("model"), data, Network(sharpness=2.0))


def fit(data, bundle, out, **changes) -> dict:
    """Run the component and return calibration.json."""
    folders = {name: out / name for name in ("detector", "report")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    component.run(dataset=data.folder, model=bundle.folder, **(DEFAULTS | changes), **folders)
    return json.loads((out / "detector" / "calibration.json").read_text())


@pytest.fixture(scope="module")
def fitted(data, bundle, tmp_path_factory):
    out = tmp_path_factory.mktemp("fitted")
    return out, fit(data, bundle, out)


def test_false_alarms_are_as_stated_and_drift_is_seen(fitted):
    out, facts = fitted
    assert facts["is_as_stated"]
    low, high = facts["interval"]
    assert low <= facts["rate"] <= high
    assert facts["rate"] == facts["alarms"] / facts["windows"]
    assert facts["power"]["dark 5"] > 0.9
    assert facts["power"]["bright 5"] > 0.9
    assert facts["class_mix_power"]["100%"] > 0.9
    report = json.loads((out / "report" / "report.json").read_text())
    assert report == facts
    assert (out / "report" / "pictures" / "power.png").is_file()


def test_the_reference_is_held_out_images_of_a_number_that_gives_fine_p_values(
    data, bundle, fitted
):
    out, facts = fitted
    detector = DriftDetector.load(out / "detector")
    assert len(detector.reference) == facts["reference_images"] == 149  # of 150, coprime to 20
    held_out = [data.split(name) for name in ("val", "test")]
    said = Predictor(bundle).predict([s.read(i) for s in held_out for i in range(len(s))][:149])
    expected = detector.features(said.embeddings, said.logits)
    assert np.allclose(detector.reference, expected, atol=1e-4)


def test_it_is_silent_on_new_images_of_the_kind_and_alarms_on_others(bundle, fitted):
    detector, predictor = DriftDetector.load(fitted[0] / "detector"), Predictor(bundle)

    def check(images: list[bytes]):
        said = predictor.predict(images)
        return detector.check(detector.features(said.embeddings, said.logits))

    alike = [sample(name, 7000 + n).data for n in range(7) for name in ("blue", "green", "red")]
    noisy = [
        sample(name, 7000 + n, noise=120.0).data
        for n in range(7)
        for name in ("blue", "green", "red")
    ]
    assert not check(alike[:20]).is_drift
    assert check(noisy[:20]).is_drift
    assert check([sample("red", 7000 + n).data for n in range(20)]).is_drift


def test_a_window_too_large_for_the_held_out_images_is_made_smaller(data, bundle, tmp_path, caplog):
    facts = fit(data, bundle, tmp_path, window=90, drifted_windows=1)
    assert facts["window"] == DriftDetector.load(tmp_path / "detector").window == 50
    assert "150 held-out images suffice for windows of 50, not of 90" in caplog.text


def test_too_few_held_out_images_are_refused_with_the_remedy(bundle, tmp_path):
    few = make_dataset(tmp_path / "few", train=2, val=2, test=5)
    with pytest.raises(InputError, match=r"21 held-out images are too few .* at least 30"):
        fit(few, bundle, tmp_path)
    assert not list((tmp_path / "detector").iterdir())


def test_the_same_seed_gives_the_same_files(data, bundle, fitted, tmp_path):
    fit(data, bundle, tmp_path)
    for file in ("calibration.json", "detector.json", "detector.npz"):
        assert (tmp_path / "detector" / file).read_bytes() == (
            fitted[0] / "detector" / file
        ).read_bytes()
