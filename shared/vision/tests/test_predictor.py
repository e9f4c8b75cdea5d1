"""The one predictor: right, in evaluation mode, the same alone and in company."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from shared.vision.bundle import open_bundle, write_bundle
from shared.vision.errors import BundleError
from shared.vision.predictor import Predictor, softmax
from shared.vision.tests.factories import COLOURS, colour_image, make_bundle


@pytest.fixture
def predictor(tmp_path):
    return Predictor(make_bundle(tmp_path / "b"))


def test_knows_the_colours_in_the_bundles_order(predictor):
    answer = predictor.predict([colour_image(name, 5) for name in sorted(COLOURS)])
    assert answer.labels.tolist() == [0, 1, 2]
    assert np.allclose(answer.probabilities.sum(axis=1), 1)


def test_company_does_not_change_an_answer(predictor):
    images = [colour_image(name, seed) for seed in range(40) for name in COLOURS]
    together = predictor.predict(images)
    alone = np.concatenate([predictor.predict([image]).probabilities for image in images])
    assert np.allclose(together.probabilities, alone, atol=1e-6)
    counted = predictor.predict_all(images.__getitem__, len(images))
    assert np.allclose(counted.probabilities, alone, atol=1e-6)


def test_temperature_softens_and_changes_no_label(predictor, tmp_path):
    warm_bundle = write_bundle(tmp_path / "b", replace(_info(tmp_path / "b"), temperature=3.0))
    images = [colour_image("red", seed) for seed in range(5)]
    cold, warm = predictor.predict(images), Predictor(warm_bundle).predict(images)
    assert np.array_equal(cold.labels, warm.labels)
    assert np.allclose(warm.probabilities, softmax(cold.logits / 3), atol=1e-6)
    assert (warm.confidences < cold.confidences).all()


def test_training_mode_is_refused(predictor):
    predictor.module.train()
    with pytest.raises(BundleError, match="training mode"):
        predictor.predict([colour_image("red", 1)])


def test_other_bytes_in_place_of_the_script_are_refused(tmp_path):
    bundle = make_bundle(tmp_path / "b")
    bundle.script.write_bytes(b"no script")
    with pytest.raises(BundleError, match="no TorchScript"):
        Predictor(write_bundle(bundle.folder, bundle.info))


def _info(folder):
    assert json.loads((folder / "bundle.json").read_text())
    with open_bundle(folder) as bundle:
        return bundle.info
