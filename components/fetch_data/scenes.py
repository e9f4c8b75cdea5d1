"""Draw natural scenes: six classes for a first run that downloads nothing.

    image = draw_scene("glacier", size=96, rng=np.random.default_rng(0))

Each picture has its own light, weather, palette, composition and camera noise. The
classes overlap on purpose - haze over sea, rock beside ice, houses along a street -
so that a small network has something to learn and does not learn all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from PIL import Image

from components.fetch_data.canvas import (
    SUPERSAMPLING,
    Canvas,
    Colour,
    jagged_skyline,
    mix,
    photograph,
    rolling_skyline,
    sky,
)

_FACADES: tuple[Colour, ...] = (
    (176, 150, 128),
    (150, 92, 76),
    (196, 190, 176),
    (120, 130, 140),
    (206, 178, 120),
    (96, 104, 120),
)


def draw_scene(class_name: str, size: int, rng: np.random.Generator) -> Image.Image:
    """Return one picture of `class_name`, a key of SCENES, as RGB of size x size."""
    side = size * SUPERSAMPLING
    canvas = Canvas(sky(size, rng).resize((side, side)), rng)  # nothing sharp is in a sky
    SCENES[class_name](canvas)
    return photograph(canvas.image, size, rng)


def _buildings(canvas: Canvas) -> None:
    rng = canvas.rng
    ground = rng.uniform(0.84, 1.02)
    for depth in (0, 1):  # a far row in haze, then the near one
        x = rng.uniform(-0.15, 0.0)
        while x < 1:
            width = rng.uniform(0.13, 0.26) * (1 + 0.9 * depth)
            top = rng.uniform(0.05, 0.42) + 0.18 * (1 - depth)
            facade = canvas.vary(_FACADES[rng.integers(len(_FACADES))])
            if not depth:
                facade = mix(facade, (190, 196, 204), 0.5)
            _house(canvas, (x, top, x + width, ground), facade)
            x += width + rng.choice([0.0, rng.uniform(0.02, 0.2)])
    canvas.rectangle(0, ground, 1, 1, canvas.vary((112, 110, 106)))
    for _ in range(rng.integers(0, 4)):
        x = rng.uniform(0, 1)
        canvas.ellipse(x, ground - 0.02, rng.uniform(0.08, 0.2), 0.12, canvas.vary((62, 92, 50)))


def _house(canvas: Canvas, box: tuple[float, float, float, float], facade: Colour) -> None:
    """Draw a block with one side in shade and windows in rows."""
    x, top, x1, ground = box
    rng = canvas.rng
    canvas.rectangle(x, top, x1, ground, facade)
    canvas.rectangle(x1 - 0.18 * (x1 - x), top, x1, ground, mix(facade, (20, 20, 30), 0.35))
    if rng.random() < 0.3:
        roof = canvas.vary((128, 62, 48))
        canvas.polygon([(x, top), ((x + x1) / 2, top - 0.1), (x1, top)], roof)
    rows, columns = int(rng.integers(5, 11)), int(rng.integers(3, 6))
    step_y, step_x = (ground - top) / rows, 0.8 * (x1 - x) / columns
    glass = canvas.vary((52, 66, 86) if rng.random() < 0.75 else (214, 196, 130))
    for row in range(rows):
        for column in range(columns):
            left, upper = x + (column + 0.25) * step_x, top + (row + 0.3) * step_y
            pane = canvas.vary(glass, 10)
            canvas.rectangle(left, upper, left + 0.55 * step_x, upper + 0.5 * step_y, pane)


def _street(canvas: Canvas) -> None:
    rng = canvas.rng
    vanish_x, horizon = rng.uniform(0.3, 0.7), rng.uniform(0.42, 0.58)
    for is_right in (False, True):
        _street_side(canvas, vanish_x, horizon, is_right)
    asphalt = canvas.vary((92, 92, 96))
    pavement = canvas.vary((158, 150, 140))
    left, right = rng.uniform(-0.5, -0.1), rng.uniform(1.1, 1.5)
    canvas.polygon([(vanish_x, horizon), (left - 0.5, 1), (right + 0.5, 1)], pavement)
    canvas.polygon([(vanish_x, horizon), (left, 1), (right, 1)], asphalt)
    centre = (left + right) / 2
    for start in np.arange(0.08, 1, 0.2):  # lane marks, growing towards the viewer
        near, far = start + 0.1, start
        points = [
            (vanish_x + (centre + side - vanish_x) * t, horizon + (1 - horizon) * t)
            for side, t in ((-0.03, far), (0.03, far), (0.03, near), (-0.03, near))
        ]
        canvas.polygon(points, (226, 222, 206))
    for _ in range(rng.integers(1, 5)):
        nearness, lane = rng.uniform(0.15, 0.75), rng.choice([-0.55, 0.55])
        x = vanish_x + (centre + lane - vanish_x) * nearness
        _car(canvas, x, horizon + (1 - horizon) * nearness, 0.3 * nearness)


def _street_side(canvas: Canvas, vanish_x: float, horizon: float, is_right: bool) -> None:
    """Draw a row of houses whose edges run to the vanishing point."""
    rng = canvas.rng
    edge = 1.0 if is_right else 0.0
    height = rng.uniform(0.5, 0.75)
    steps = np.geomspace(1.0, 0.12, int(rng.integers(4, 7)))
    for near, far in pairwise(steps):
        facade = canvas.vary(_FACADES[rng.integers(len(_FACADES))])
        top = height * rng.uniform(0.75, 1.15)
        x0, x1 = vanish_x + (edge - vanish_x) * near, vanish_x + (edge - vanish_x) * far
        foot = 0.42
        corners = [(x0, horizon - top * near), (x1, horizon - top * far)]
        corners += [(x1, horizon + foot * far), (x0, horizon + foot * near)]
        canvas.polygon(corners, facade)
        for row in np.linspace(0.12, 0.9, 5):
            for column in (0.2, 0.6):
                t = near + (far - near) * column
                x = vanish_x + (edge - vanish_x) * t
                y = horizon - top * t + row * (top + foot) * t
                width = 0.22 * (x1 - x0)
                box = (min(x, x + width), y, max(x, x + width), y + 0.08 * t)
                canvas.rectangle(*box, canvas.vary((58, 66, 80), 10))


def _car(canvas: Canvas, x: float, y: float, width: float) -> None:
    paint = canvas.vary(
        ((150, 30, 30), (40, 50, 90), (210, 210, 210), (30, 30, 34))[canvas.rng.integers(4)]
    )
    height = 0.42 * width
    canvas.rectangle(x - width / 2, y - height, x + width / 2, y, paint)
    canvas.rectangle(x - 0.36 * width, y - 1.7 * height, x + 0.36 * width, y - height, paint)
    canvas.rectangle(x - 0.3 * width, y - 1.55 * height, x + 0.3 * width, y - height, (60, 74, 90))
    for side in (-0.36, 0.36):
        canvas.ellipse(x + side * width, y, 0.2 * width, 0.3 * height, (18, 18, 20))


def _forest(canvas: Canvas) -> None:
    rng = canvas.rng
    leaf = ((46, 88, 38), (74, 104, 40), (34, 66, 44), (150, 104, 40))[
        rng.choice(4, p=[0.4, 0.25, 0.25, 0.1])
    ]
    canvas.rectangle(0, rng.uniform(0, 0.3), 1, 1, mix(leaf, (10, 16, 10), 0.45))
    is_conifer = rng.random() < 0.45
    ground = rng.uniform(0.72, 0.95)
    canvas.rectangle(0, ground, 1, 1, canvas.vary((78, 72, 40)))
    for nearness in np.sort(rng.uniform(0.2, 1, 26)):
        x, foot = rng.uniform(-0.05, 1.05), ground + 0.18 * (nearness - 0.5)
        colour = canvas.vary(mix((150, 170, 160), leaf, 0.35 + 0.65 * nearness), 16)
        if is_conifer:
            _conifer(canvas, x, foot, 0.35 + 0.6 * nearness, colour)
        else:
            _broadleaf(canvas, x, foot, nearness, colour)


def _conifer(canvas: Canvas, x: float, foot: float, height: float, colour: Colour) -> None:
    for tier in range(5):
        top, width = foot - height * (1 - 0.17 * tier), 0.07 * height * (tier + 1)
        base = top + 0.3 * height
        canvas.polygon(
            [(x, top), (x - width / 1.4, base), (x + width / 1.4, base)], canvas.vary(colour, 8)
        )


def _broadleaf(canvas: Canvas, x: float, foot: float, nearness: float, colour: Colour) -> None:
    rng = canvas.rng
    bark = canvas.vary((84, 66, 48))
    width, lean = 0.02 + 0.03 * nearness, rng.normal(0, 0.03)
    canvas.polygon(
        [
            (x - width, foot),
            (x + width, foot),
            (x + lean + width / 2, 0),
            (x + lean - width / 2, 0),
        ],
        bark,
    )
    for _ in range(9):
        dx, y = rng.normal(0, 0.1), rng.uniform(-0.05, 0.55 * foot)
        size = rng.uniform(0.06, 0.16)
        canvas.ellipse(x + dx, y, size, 0.7 * size, canvas.vary(colour, 14))


def _mountain(canvas: Canvas) -> None:
    rng = canvas.rng
    rock = ((104, 98, 100), (122, 100, 82), (86, 96, 116), (92, 88, 70))[rng.integers(4)]
    layers = int(rng.integers(2, 4))
    for layer in range(layers):
        nearness = (layer + 1) / layers
        base = 0.3 + 0.2 * layer + rng.uniform(-0.04, 0.04)
        peaks = jagged_skyline(canvas, base, amplitude=0.34 - 0.08 * layer)
        colour = canvas.vary(mix((176, 192, 212), rock, 0.35 + 0.6 * nearness))
        canvas.under(peaks, colour)
        _shade_slopes(canvas, peaks, colour)
        if rng.random() < 0.6 and layer < 2:
            _snow_caps(canvas, peaks, base + 0.03)
    meadow = ((70, 96, 48), (104, 104, 60), (58, 74, 52))[rng.integers(3)]
    canvas.under(rolling_skyline(canvas, rng.uniform(0.8, 0.95), 0.04), canvas.vary(meadow))


def _shade_slopes(canvas: Canvas, peaks: npt.NDArray[np.float64], colour: Colour) -> None:
    """Darken the slopes that face away from the light."""
    shade = mix(colour, (24, 26, 40), 0.4)
    xs = np.linspace(0, 1, len(peaks))
    for i in range(0, len(peaks) - 6, 3):
        if peaks[i + 3] > peaks[i]:  # falls to the right
            drop = canvas.rng.uniform(0.1, 0.3)
            canvas.polygon(
                [
                    (xs[i], peaks[i]),
                    (xs[i + 3], peaks[i + 3]),
                    (xs[i + 3] + 0.05, peaks[i + 3] + drop),
                    (xs[i] + 0.02, peaks[i] + drop),
                ],
                shade,
            )


def _snow_caps(canvas: Canvas, peaks: npt.NDArray[np.float64], line: float) -> None:
    xs = np.linspace(0, 1, len(peaks))
    depth = np.clip(line - peaks, 0, None) * canvas.rng.uniform(0.25, 0.6)
    lower = peaks + depth * canvas.rng.uniform(0.4, 1.5, len(peaks))
    snow = canvas.vary((236, 240, 246), 5)
    for i in np.flatnonzero((depth[:-1] > 0) & (depth[1:] > 0)):
        corners = [(xs[i], peaks[i]), (xs[i + 1], peaks[i + 1])]
        canvas.polygon([*corners, (xs[i + 1], lower[i + 1]), (xs[i], lower[i])], snow)


def _glacier(canvas: Canvas) -> None:
    rng = canvas.rng
    if rng.random() < 0.6:
        peaks = jagged_skyline(canvas, rng.uniform(0.26, 0.36), 0.26)
        rock = canvas.vary((112, 116, 128))
        canvas.under(peaks, rock)
        _snow_caps(canvas, peaks, 0.5)
    top = rng.uniform(0.32, 0.5)
    is_lagoon = rng.random() < 0.55
    shore = rng.uniform(0.62, 0.78) if is_lagoon else 1.0
    ice = canvas.vary((206, 226, 240), 8)
    edge = rolling_skyline(canvas, top, 0.05)
    canvas.under(edge, ice, bottom=shore)
    for _ in range(int(rng.integers(26, 48))):  # crevasses: blue, steep, broken
        x, y = rng.uniform(0, 1), rng.uniform(top + 0.04, shore)
        length = rng.uniform(0.05, 0.2)
        blue = canvas.vary(((118, 178, 214), (84, 146, 196), (232, 242, 248))[rng.integers(3)])
        points = [
            (x + rng.normal(0, 0.012) + t * rng.normal(0, 0.08), y + t * length)
            for t in (0, 0.35, 0.7, 1)
        ]
        canvas.line([(px, min(py, shore)) for px, py in points], blue, rng.uniform(0.006, 0.02))
    if is_lagoon:
        canvas.rectangle(0, shore, 1, 1, canvas.vary((74, 112, 136)))
        for _ in range(int(rng.integers(4, 14))):
            x, y, width = rng.uniform(0, 1), rng.uniform(shore + 0.02, 1), rng.uniform(0.05, 0.24)
            canvas.polygon(
                [
                    (x - width / 2, y),
                    (x - width / 5, y - width * rng.uniform(0.15, 0.5)),
                    (x + width / 4, y - width * 0.25),
                    (x + width / 2, y),
                ],
                canvas.vary((214, 232, 242), 8),
            )


def _sea(canvas: Canvas) -> None:
    rng = canvas.rng
    horizon = rng.uniform(0.3, 0.62)
    water = ((28, 84, 128), (40, 122, 138), (66, 96, 112), (38, 60, 92))[rng.integers(4)]
    if rng.random() < 0.25:  # a coast far away
        canvas.under(
            rolling_skyline(canvas, horizon - 0.04, 0.03), canvas.vary((84, 96, 96)), horizon + 0.01
        )
    for band in np.linspace(0, 1, 24):
        y = horizon + band * (1 - horizon)
        colour = mix(mix(water, (190, 206, 214), 0.35), water, band)
        canvas.rectangle(0, y, 1, 1, canvas.vary(colour, 4))
    sun_x = rng.uniform(0.1, 0.9) if rng.random() < 0.4 else None
    for _ in range(130):  # waves, longer and thicker towards the viewer
        nearness = rng.random() ** 1.5
        y, width = horizon + nearness * (1 - horizon), 0.02 + 0.2 * nearness * rng.random()
        x = rng.uniform(0, 1) if sun_x is None else sun_x + rng.normal(0, 0.1 + 0.3 * nearness)
        tint = (226, 226, 206) if sun_x is not None else (196, 218, 226)
        wave = mix(water, tint, rng.uniform(0.15, 0.6))
        canvas.line(
            [(x, y), (x + width / 2, y - 0.008 * nearness), (x + width, y)],
            wave,
            0.004 + 0.01 * nearness,
        )
    if rng.random() < 0.35:
        _beach(canvas)
    if rng.random() < 0.3:
        _sail(canvas, rng.uniform(0.1, 0.9), horizon + 0.04, rng.uniform(0.05, 0.14))


def _beach(canvas: Canvas) -> None:
    line = rolling_skyline(canvas, canvas.rng.uniform(0.8, 0.9), 0.03)
    canvas.under(line - 0.025, (232, 236, 236))  # foam
    canvas.under(line, canvas.vary((206, 184, 140)))


def _sail(canvas: Canvas, x: float, y: float, size: float) -> None:
    canvas.polygon(
        [(x, y - 1.8 * size), (x, y - 0.2 * size), (x + 0.8 * size, y - 0.2 * size)],
        (240, 240, 236),
    )
    canvas.polygon(
        [
            (x - 0.6 * size, y - 0.15 * size),
            (x + size, y - 0.15 * size),
            (x + 0.7 * size, y + 0.1 * size),
            (x - 0.4 * size, y + 0.1 * size),
        ],
        (86, 50, 40),
    )


SCENES: dict[str, Callable[[Canvas], None]] = {
    "buildings": _buildings,
    "forest": _forest,
    "glacier": _glacier,
    "mountain": _mountain,
    "sea": _sea,
    "street": _street,
}
