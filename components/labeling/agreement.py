"""How far people agree: Krippendorff's alpha of a batch, Cohen's kappa of two people.

Both are 1 for people who always agree and 0 for people who agree as chance would have it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def nominal_alpha(units: Sequence[Sequence[str]]) -> float | None:
    """Return Krippendorff's alpha for names, which have no order and no distance.

    units: the labels that different people gave to one image, image by image; those of
        fewer than two people tell nothing and are left out.

    None where it is not defined: no image was labelled twice, or all labels are the same.
    """
    import krippendorff  # numpy comes with it; a merge alone needs them
    import numpy as np

    shared = [Counter(unit) for unit in units if len(unit) > 1]
    names = sorted({name for unit in shared for name in unit})
    if len(names) < 2:
        return None
    column = {name: number for number, name in enumerate(names)}
    counts = np.zeros((len(shared), len(names)), np.int64)  # [images, labels]
    for row, unit in enumerate(shared):
        for name, count in unit.items():
            counts[row, column[name]] = count
    return float(
        krippendorff.alpha(
            value_counts=counts, value_domain=range(len(names)), level_of_measurement="nominal"
        )
    )


def cohen_kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Return Cohen's kappa of two people (Cohen 1960, unweighted).

    pairs: what each of the two said of the same image. None where it is not defined: there
        are none, or both always gave one and the same label.
    """
    total = len(pairs)
    if not total:
        return None
    observed = sum(first == second for first, second in pairs) / total
    firsts, seconds = Counter(first for first, _ in pairs), Counter(s for _, s in pairs)
    expected = sum(count * seconds[name] for name, count in firsts.items()) / total**2
    return None if expected == 1 else (observed - expected) / (1 - expected)
