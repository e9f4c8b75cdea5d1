"""Where the model pays attention, by covering one place after another.

Works with any engine, since it needs forward passes only (Zeiler and Fergus 2014,
"Visualizing and Understanding Convolutional Networks", section 4.2). `explain` has the
gradient methods; this is what an endpoint can afford for one image.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shared.vision.predictor import Predictor

GRID = 7  # 49 forward passes; a CNN's last feature map at 224 px has as many places


def occlusion_map(
    predictor: Predictor, pixels: npt.NDArray[np.uint8], grid: int = GRID
) -> npt.NDArray[np.float32]:
    """Return how much covering each place lowers the top label's probability.

    pixels: uint8 [size, size, 3], as `decode_pixels` returns them.
    Returns: float32 [grid, grid], rows from the top; positive: the place speaks for the label.
    """
    edges = np.linspace(0, len(pixels), grid + 1).round().astype(int)
    mean = np.array(predictor.transform.mean) * 255  # what the model sees as nothing
    covered = np.repeat(pixels[None], 1 + grid * grid, axis=0)
    for number in range(grid * grid):
        row, column = divmod(number, grid)
        covered[1 + number, edges[row] : edges[row + 1], edges[column] : edges[column + 1]] = (
            mean.round().astype(np.uint8)
        )
    probabilities = predictor.predict_pixels(covered).probabilities
    top = int(probabilities[0].argmax())
    drop = probabilities[0, top] - probabilities[1:, top]
    return np.asarray(drop.reshape(grid, grid), dtype=np.float32)
