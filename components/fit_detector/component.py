"""Fit detector: a model and held-out images in, a calibrated drift detector out."""

from __future__ import annotations

import logging
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from components.fit_detector.calibration import FalseAlarms, calibrate, class_mix_power, power
from components.fit_detector.page import write_page
from shared.component.errors import InputError
from shared.component.files import write_json
from shared.component.progress import track
from shared.vision.bundle import open_bundle
from shared.vision.corruptions import corrupt
from shared.vision.dataset import Dataset, Split
from shared.vision.drift import DriftDetector, Features
from shared.vision.predictor import Predictor
from shared.vision.transforms import decode_pixels

log = logging.getLogger(__name__)
_KINDS = ("gaussian noise", "gaussian blur", "bright", "dark")
_SEVERITIES = (1, 3, 5)
_MIX_SHARES = (0.25, 0.5, 0.75, 1.0)
_CORRUPTED_IMAGES = 256  # windows are drawn from so many; more would only cost time
# A window must be small beside its reference, or the reference's own chance decides.
_LEAST_WINDOWS = 3
_LEAST_WINDOW = 10  # of fewer images even a changed world looks like chance


@dataclass(frozen=True)
class HeldOut:
    """Validation and test images together, unlabelled: images[i] is (split, index)."""

    splits: tuple[Split, ...]

    def __len__(self) -> int:
        return sum(len(split) for split in self.splits)

    def read(self, index: int) -> bytes:
        for split in self.splits:
            if index < len(split):
                return split.read(index)
            index -= len(split)
        raise IndexError(index)


def run(
    *,
    dataset: Path,
    model: Path,
    window: int,
    significance: float,
    clean_windows: int,
    drifted_windows: int,
    components: int,
    seed: int,
    detector: Path,
    report: Path,
) -> None:
    """Fit, calibrate and measure a detector; write it to `detector`."""
    data = Dataset.open(dataset)
    images = HeldOut((data.split("val"), data.split("test")))
    window = _fitting_window(window, len(images))
    count = _fine_grained_count(len(images), window)
    with open_bundle(model) as bundle:
        predictor = Predictor(bundle)
        clean = predictor.predict_all(images.read, count)
        fitted = DriftDetector.fit(clean.embeddings, clean.logits, components, window, significance)
        calibrated, false_alarms = calibrate(fitted, significance, clean_windows, seed)
        chosen = np.random.default_rng(seed).permutation(count)[:_CORRUPTED_IMAGES]
        changed = _corrupted(predictor, calibrated, images, chosen, seed)
    found = power(calibrated, changed, chosen, drifted_windows, seed)
    mixes = class_mix_power(calibrated, _MIX_SHARES, drifted_windows, seed)
    calibrated.save(detector)
    facts = _facts(false_alarms, calibrated, count, drifted_windows)
    facts |= {"power": found, "class_mix_power": mixes}
    write_json(detector / "calibration.json", facts)
    write_page(report, facts, _KINDS, _SEVERITIES)
    log.info(
        "drift: false alarms %d of %d clean windows (%.1f %%, intended %.1f %%), threshold p=%.3g",
        false_alarms.alarms,
        false_alarms.windows,
        100 * false_alarms.rate,
        100 * significance,
        false_alarms.threshold,
    )


def _fitting_window(window: int, images: int) -> int:
    """Return the window asked for, or the largest that so many held-out images allow."""
    largest = images // _LEAST_WINDOWS
    if largest < _LEAST_WINDOW:
        raise InputError(
            f"fit_detector: {images} held-out images are too few for a drift detector; give more "
            f"validation or test images, at least {_LEAST_WINDOWS * _LEAST_WINDOW} in all"
        )
    if window > largest:
        log.warning(
            "%d held-out images suffice for windows of %d, not of %d", images, largest, window
        )
    return min(window, largest)


def _fine_grained_count(images: int, window: int) -> int:
    """Return how many images to use: a number that has no divisor in common with `window`.

    Kolmogorov-Smirnov distances are multiples of 1 / lcm(reference, window). Of 60 and 30
    that is 1/60, and so few p-values exist that none gives the intended rate.
    """
    return next(n for n in range(images, 0, -1) if math.gcd(n, window) == 1)


def _facts(
    false_alarms: FalseAlarms, detector: DriftDetector, images: int, drifted_windows: int
) -> dict[str, Any]:
    return asdict(false_alarms) | {
        "rate": false_alarms.rate,
        "is_as_stated": false_alarms.is_as_stated,
        "drifted_windows": drifted_windows,
        "window": detector.window,
        "reference_images": images,
        "components": detector.projection.shape[1],
    }


def case_name(kind: str, severity: int) -> str:
    return f"{kind} {severity}"


def _corrupted(
    predictor: Predictor,
    detector: DriftDetector,
    images: HeldOut,
    chosen: npt.NDArray[np.int64],
    seed: int,
) -> dict[str, Features]:
    pixels = [decode_pixels(images.read(int(i)), predictor.transform) for i in chosen]
    cases = [(kind, severity) for kind in _KINDS for severity in _SEVERITIES]
    changed = {}
    for kind, severity in track(cases, len(cases), "corruptions"):
        broken = [corrupt(p, kind, severity, seed + n) for n, p in enumerate(pixels)]
        said = predictor.predict_pixels(np.stack(broken))
        changed[case_name(kind, severity)] = detector.features(said.embeddings, said.logits)
    return changed
