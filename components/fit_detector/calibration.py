"""False alarms and power of a detector, measured on windows of held-out images.

A clean window is drawn from the held-out images and taken out of the reference for its
test, so both come from one distribution and no image is compared with itself. One set
of windows sets the threshold, another measures what rate of false alarms it gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.stats import betabinom, binomtest

from shared.component.progress import track
from shared.vision.drift import DriftDetector, Features


@dataclass(frozen=True)
class FalseAlarms:
    """How often clean windows alarm.

    interval: 95 % Clopper-Pearson interval of the rate.
    """

    significance: float
    threshold: float
    windows: int
    alarms: int
    interval: tuple[float, float]

    @property
    def rate(self) -> float:
        return self.alarms / self.windows

    @property
    def is_as_stated(self) -> bool:
        """Chance explains the number of alarms, at 95 %.

        The threshold is an order statistic of as many windows, so the alarms of exchangeable
        windows are beta-binomial. The interval alone would doubt one good detector in six.
        """
        rank = 1 + self.significance * (self.windows - 1)
        expected = betabinom(self.windows, rank, self.windows + 1 - rank)
        low, high = expected.ppf([0.025, 0.975])
        return bool(low <= self.alarms <= high)


def calibrate(
    detector: DriftDetector, significance: float, windows: int, seed: int
) -> tuple[DriftDetector, FalseAlarms]:
    """Set the threshold on `windows` clean windows; measure it on as many others."""
    generator = np.random.default_rng(seed)
    p_values = np.array(
        [_clean(detector, generator) for _ in track(range(2 * windows), 2 * windows, "windows")]
    )
    setting, checking = p_values[:windows], p_values[windows:]
    threshold = float(np.quantile(setting, significance))
    alarms = int((checking < threshold).sum())
    low, high = binomtest(alarms, windows).proportion_ci(0.95, method="exact")
    measured = FalseAlarms(significance, threshold, windows, alarms, (float(low), float(high)))
    return replace(detector, threshold=threshold), measured


def power(
    detector: DriftDetector,
    changed: Mapping[str, Features],
    rows: npt.NDArray[np.int64],
    windows: int,
    seed: int,
) -> dict[str, float]:
    """Return the share of drifted windows that alarm, by case.

    changed: by case, features of the changed images; rows: their reference rows.
    """
    generator = np.random.default_rng(seed)
    found = {}
    for case, features in track(changed.items(), len(changed), "cases"):
        alarms = 0
        for _ in range(windows):
            drawn = generator.permutation(len(features))[: detector.window]
            alarms += detector.without(rows[drawn]).check(features[drawn]).is_drift
        found[case] = alarms / windows
    return found


def class_mix_power(
    detector: DriftDetector, shares: tuple[float, ...], windows: int, seed: int
) -> dict[str, float]:
    """Return the power against windows in which one class takes an extra share.

    shares: 0.5 means: half of the window is drawn from one predicted class alone.
    """
    generator = np.random.default_rng(seed)
    predicted = detector.reference[:, -1].astype(int)
    # as many as a window may need; a rarer class cannot flood one
    frequent = [c for c in np.unique(predicted) if (predicted == c).sum() >= detector.window]
    frequent = frequent or [int(np.bincount(predicted).argmax())]
    found = {}
    for share in track(shares, len(shares), "mixes"):
        alarms = 0
        for number in range(windows):
            favourite = np.flatnonzero(predicted == frequent[number % len(frequent)])
            taken = generator.permutation(favourite)[: round(share * detector.window)]
            others = np.setdiff1d(np.arange(len(predicted)), taken)
            rest = generator.permutation(others)[: detector.window - len(taken)]
            rows = np.concatenate([taken, rest])
            alarms += detector.without(rows).check(detector.reference[rows]).is_drift
        found[f"{share:.0%}"] = alarms / windows
    return found


def _clean(detector: DriftDetector, generator: np.random.Generator) -> float:
    rows = generator.permutation(len(detector.reference))[: detector.window]
    return detector.without(rows).check(detector.reference[rows]).p_value
