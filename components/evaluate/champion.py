"""Champion against challenger on the same frozen test images."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shared.component.storage import download
from shared.vision.bundle import open_bundle
from shared.vision.dataset import Split
from shared.vision.predictor import Predictor

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Comparison:
    """Challenger minus champion.

    difference: of accuracy; interval: 95 % paired bootstrap.
    only_champion, only_challenger: images only one of them gets right.
    """

    champion_accuracy: float
    difference: float
    interval: tuple[float, float]
    only_champion: int
    only_challenger: int

    @property
    def regression(self) -> float:
        """Accuracy lost against the champion; 0 where none is lost."""
        return max(0.0, -self.difference)


def champion_answers(uri: str, split: Split) -> npt.NDArray[np.bool_] | str:
    """Return which test images the champion gets right, or why it cannot be compared."""
    with tempfile.TemporaryDirectory() as scratch:
        path = download(uri, Path(scratch))
        with open_bundle(path) as bundle:
            predictor = Predictor(bundle)
            if predictor.classes != split.classes:
                return (
                    f"the champion knows other classes ({', '.join(predictor.classes)}) "
                    "and answers another question"
                )
            labels = predictor.predict_all(split.read, len(split)).labels
    log.info("champion %s answered %d test images", uri, len(labels))
    return np.asarray(labels == split.labels)


def compare(
    champion: npt.NDArray[np.bool_],
    challenger: npt.NDArray[np.bool_],
    samples: int,
    seed: int,
) -> Comparison:
    """Compare right answers on the same images, in the same order; bool [n] each."""
    gain = challenger.astype(float) - champion.astype(float)
    # a resample of n values in {-1, 0, 1} is one multinomial draw of their counts
    shares = [(gain == value).mean() for value in (-1, 0, 1)]
    draws = np.random.default_rng(seed).multinomial(len(gain), shares, samples)
    low, high = np.percentile((draws[:, 2] - draws[:, 0]) / len(gain), [2.5, 97.5])
    return Comparison(
        champion_accuracy=float(champion.mean()),
        difference=float(gain.mean()),
        interval=(float(low), float(high)),
        only_champion=int((gain < 0).sum()),
        only_challenger=int((gain > 0).sum()),
    )
