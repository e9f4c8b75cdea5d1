"""Has the world changed? One drift detector over embeddings, confidence and class mix.

The only file that imports alibi-detect, and of it what the test runs alone: all of it
takes 5 s and 0.9 GB, and half a GB of packages. `DriftDetector` takes arrays and returns a
`DriftResult`; it knows nothing of HTTP or CloudWatch, and another library can serve behind
the same two calls.

The test: every principal component of the penultimate embedding and the confidence by
a two-sample Kolmogorov-Smirnov test, the predicted class by a chi-squared test
(alibi-detect's TabularDrift), Bonferroni-corrected. The threshold on the corrected
p-value is not assumed but calibrated by `fit_detector`, since the tests are discrete
and the features dependent.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.component.errors import InputError
from shared.component.files import atomic, write_json
from shared.vision.errors import LibraryError
from shared.vision.lone_import import import_alone

SCHEMA_VERSION = 1
ALIBI_DETECT = "0.13.0"  # of another version, other modules may ask for other packages
# All that pyproject.toml lets the library require. Two classes of scikit-learn are named at
# its import, for detectors that are not ours.
SHOWN = frozenset({"numpy", "scipy", "typing_extensions"})
_STAND_INS = {
    "sklearn.base": {"BaseEstimator": type("BaseEstimator", (), {})},
    "sklearn.model_selection": {"StratifiedKFold": type("StratifiedKFold", (), {})},
}
Features = npt.NDArray[np.float32]  # [n, components + 2]: components, confidence, class


@dataclass(frozen=True)
class FeatureDrift:
    """One feature's own test, uncorrected.

    distance: Kolmogorov-Smirnov distance in [0, 1], or the chi-squared statistic.
    """

    name: str
    p_value: float
    distance: float


@dataclass(frozen=True)
class DriftResult:
    """What one window says.

    p_value: smallest of all features, times their number, at most 1.
    threshold: the calibrated bound; below it `is_drift`.
    features: strongest first.
    """

    p_value: float
    threshold: float
    is_drift: bool
    window: int
    features: tuple[FeatureDrift, ...]


@dataclass(frozen=True)
class ClassShift:
    """How often one class is predicted, as shares in [0, 1].

    index: of the class in the bundle's order.
    """

    index: int
    reference_share: float
    window_share: float


@dataclass(frozen=True)
class DriftDetector:
    """A reference set and a threshold.

    mean: float32 [D]; projection: float32 [D, components]; both of the embedding.
    reference: features of held-out images.
    window: images a test looks at; threshold: on the corrected p-value.
    """

    mean: npt.NDArray[np.float32]
    projection: npt.NDArray[np.float32]
    reference: Features
    window: int
    threshold: float

    @classmethod
    def fit(
        cls,
        embeddings: npt.NDArray[np.float32],
        logits: npt.NDArray[np.float32],
        components: int,
        window: int,
        significance: float,
    ) -> DriftDetector:
        """Take held-out images as the world as it should be.

        embeddings: float32 [n, D]; logits: float32 [n, classes].
        significance: threshold until `fit_detector` has calibrated one.
        """
        mean = embeddings.mean(axis=0)
        _, _, directions = np.linalg.svd(embeddings - mean, full_matrices=False)
        unfitted = cls(
            mean=mean.astype(np.float32),
            projection=directions[:components].T.astype(np.float32),
            reference=np.empty((0, 0), np.float32),
            window=window,
            threshold=significance,
        )
        return replace(unfitted, reference=unfitted.features(embeddings, logits))

    @property
    def feature_names(self) -> tuple[str, ...]:
        numbers = range(self.projection.shape[1])
        return (*(f"component {n}" for n in numbers), "confidence", "class mix")

    def features(
        self, embeddings: npt.NDArray[np.float32], logits: npt.NDArray[np.float32]
    ) -> Features:
        """Reduce what the predictor says of n images to what is tested.

        Logits, since the temperature is found beside the detector and put into the bundle
        afterwards: confidence here is the network's own, on both sides of the test.
        """
        components = (embeddings - self.mean) @ self.projection
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        confidence = 1 / shifted.sum(axis=1, keepdims=True)  # of the softmax, its largest
        predicted = logits.argmax(axis=1)[:, None]
        joined = np.concatenate([components, confidence, predicted], axis=1)
        return np.asarray(joined, dtype=np.float32)

    def without(self, rows: npt.NDArray[np.int64]) -> DriftDetector:
        """Return the detector with these reference rows taken out."""
        return replace(self, reference=np.delete(self.reference, rows, axis=0))

    def check(self, features: Features) -> DriftResult:
        """Test one window of `features` against the reference."""
        p_values, distances = _test(self.reference, features)
        p_value = min(1.0, float(p_values.min()) * len(p_values))
        ranked = sorted(
            (
                FeatureDrift(name, float(p), float(d))
                for name, p, d in zip(self.feature_names, p_values, distances, strict=True)
            ),
            key=lambda feature: feature.p_value,
        )
        return DriftResult(
            p_value=p_value,
            threshold=self.threshold,
            is_drift=p_value < self.threshold,
            window=len(features),
            features=tuple(ranked),
        )

    def class_shift(self, features: Features) -> tuple[ClassShift, ...]:
        """Compare how often each class is predicted, the one that moved most first."""
        expected, found = self.reference[:, -1].astype(int), features[:, -1].astype(int)
        count = max(expected.max(initial=-1), found.max(initial=-1)) + 1
        shares = [np.bincount(v, minlength=count) / max(len(v), 1) for v in (expected, found)]
        shifts = (
            ClassShift(index, float(before), float(now))
            for index, (before, now) in enumerate(zip(*shares, strict=True))
        )
        return tuple(sorted(shifts, key=lambda s: -abs(s.window_share - s.reference_share)))

    def save(self, folder: Path) -> None:
        """Write detector.npz and, last, detector.json; nothing is pickled."""
        with atomic(folder / "detector.npz") as aside, aside.open("wb") as stream:
            np.savez(stream, mean=self.mean, projection=self.projection, reference=self.reference)
        settings = {
            "schema_version": SCHEMA_VERSION,
            "window": self.window,
            "threshold": self.threshold,
        }
        write_json(folder / "detector.json", settings)

    @classmethod
    def load(cls, folder: Path) -> DriftDetector:
        """Read what `save` wrote.

        Raises:
            InputError: the folder holds no detector of this schema.
        """
        try:
            settings = json.loads((folder / "detector.json").read_text())
            with np.load(folder / "detector.npz", allow_pickle=False) as arrays:
                mean, projection = arrays["mean"], arrays["projection"]
                reference = arrays["reference"]
        except (OSError, ValueError, KeyError) as err:
            raise InputError(
                f"detector: {folder} holds no detector: {err}; give the output of fit_detector"
            ) from err
        if settings["schema_version"] != SCHEMA_VERSION:
            raise InputError(
                f"detector: {folder} has schema version {settings['schema_version']}, this code "
                f"reads {SCHEMA_VERSION}"
            )
        return cls(mean, projection, reference, settings["window"], settings["threshold"])


def _test(
    reference: Features, window: Features
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return p-values and distances per feature."""
    class_column = reference.shape[1] - 1
    categories = {class_column: None}  # those that occur
    detector = _tabular_drift()(reference, p_val=0.05, categories_per_feature=categories)
    data = detector.predict(window, drift_type="feature")["data"]
    return data["p_val"].astype(np.float64), data["distance"].astype(np.float64)


@cache
def _tabular_drift() -> Any:
    """Return alibi-detect's class, which has no types.

    Raises:
        LibraryError: the library is missing, or not the one that this was written for.
    """
    try:
        module = import_alone("alibi_detect.cd.tabular", SHOWN, _STAND_INS)
        return module.TabularDrift
    except (ImportError, AttributeError) as err:
        raise LibraryError(
            f"drift: TabularDrift cannot be imported from alibi_detect: {err}; install "
            f"alibi-detect=={ALIBI_DETECT} and {', '.join(sorted(SHOWN))}"
        ) from err
