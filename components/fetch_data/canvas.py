"""A canvas for scenes, the outlines of land, and what a camera adds to a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
Pixels = npt.NDArray[np.float32]
SUPERSAMPLING = 2  # drawn twice as large, then scaled down: smooth edges
# Top and bottom of the sky: noon, haze, overcast, dawn, dusk.
_SKIES: tuple[tuple[Colour, Colour], ...] = (
    ((62, 120, 200), (178, 212, 240)),
    ((132, 170, 205), (222, 228, 228)),
    ((120, 128, 138), (198, 202, 206)),
    ((96, 116, 168), (246, 206, 172)),
    ((70, 62, 110), (236, 148, 92)),
)


class Canvas:
    """A square picture under the brush; lengths are shares of its side."""

    def __init__(self, background: Image.Image, rng: np.random.Generator) -> None:
        self.rng = rng
        self.side = background.width
        self.image = background
        self.brush = ImageDraw.Draw(self.image)

    def polygon(self, points: Sequence[tuple[float, float]], colour: Colour) -> None:
        """Fill the outline given as (x, y) points."""
        self.brush.polygon([(x * self.side, y * self.side) for x, y in points], fill=colour)

    def rectangle(self, x: float, y: float, x1: float, y1: float, colour: Colour) -> None:
        """Fill the box from (x, y) to (x1, y1)."""
        self.polygon([(x, y), (x1, y), (x1, y1), (x, y1)], colour)

    def ellipse(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        """Fill an ellipse around (x, y)."""
        box = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
        self.brush.ellipse([value * self.side for value in box], fill=colour)

    def line(self, points: Sequence[tuple[float, float]], colour: Colour, width: float) -> None:
        """Draw a line through the points."""
        scaled = [(x * self.side, y * self.side) for x, y in points]
        self.brush.line(scaled, fill=colour, width=max(1, round(width * self.side)))

    def vary(self, colour: Colour, amount: float = 14) -> Colour:
        """Return the colour a little lighter or darker, and a little off in hue."""
        light, *hues = self.rng.standard_normal(4).tolist()  # arrays of three would be slower
        shifted = (c + amount * (light + hue / 3) for c, hue in zip(colour, hues, strict=True))
        red, green, blue = (min(255, max(0, int(value))) for value in shifted)
        return red, green, blue

    def under(self, ridge: npt.NDArray[np.float64], colour: Colour, bottom: float = 1.0) -> None:
        """Fill from a ridge (heights from left to right) down to `bottom`."""
        xs = np.linspace(0, 1, len(ridge))
        outline = list(zip(xs.tolist(), ridge.tolist(), strict=True))
        self.polygon([(0, bottom), *outline, (1, bottom)], colour)


def jagged_skyline(canvas: Canvas, base: float, amplitude: float) -> npt.NDArray[np.float64]:
    """Return a jagged skyline: the highest of a few tents, roughened."""
    rng, xs = canvas.rng, np.linspace(0, 1, 97)
    tents = [
        rng.uniform(0.5, 1) - rng.uniform(1.6, 3.2) * np.abs(xs - centre)
        for centre in rng.uniform(-0.05, 1.05, int(rng.integers(3, 6)))
    ]
    skyline = np.maximum.reduce([*tents, np.full_like(xs, 0.0)])
    rough = skyline + rng.normal(0, 0.03, len(xs))
    return np.asarray(base + 0.1 - amplitude * rough, np.float64)


def sky(side: int, rng: np.random.Generator) -> Image.Image:
    """Return a sky with or without clouds."""
    top, bottom = (np.array(colour, np.float32) for colour in _SKIES[rng.integers(len(_SKIES))])
    ramp = np.linspace(0, 1.4, side, dtype=np.float32).clip(0, 1)[:, None, None]
    pixels = (1 - ramp) * top + ramp * bottom
    clouds = _noise(side, 6, rng) + 0.5 * _noise(side, 14, rng)
    cover = np.clip((clouds - rng.uniform(0.2, 1.6)) * 0.7, 0, 0.8)[..., None]
    pixels = pixels * (1 - cover) + 244 * cover + rng.normal(0, 8, 3)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def photograph(image: Image.Image, size: int, rng: np.random.Generator) -> Image.Image:
    """Return what a camera makes of a scene: texture, haze, light, tilt, blur, noise."""
    side = image.width
    image = image.rotate(rng.normal(0, 2.5), Image.Resampling.BILINEAR)
    margin = int(side * rng.uniform(0.04, 0.12))
    box = (margin, margin, side - margin, side - margin)
    image = image.resize((size, size), Image.Resampling.BOX, box=box)
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < 0.2:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.0)))
    pixels = np.asarray(image, np.float32)
    texture = 6 * _noise(size, 24, rng) + 5 * _noise(size, 48, rng)
    pixels = pixels + texture[..., None]
    haze = max(0.0, rng.normal(0.05, 0.16))
    pixels = pixels * (1 - haze) + 200 * haze
    light = rng.normal(1, 0.16) * (1 + rng.normal(0, 0.05, 3))  # brightness, then colour cast
    pixels = (pixels - 128) * rng.uniform(0.75, 1.15) + 128
    pixels = pixels * light + rng.normal(0, rng.uniform(2, 9), pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _noise(side: int, cells: int, rng: np.random.Generator) -> Pixels:
    """Return smooth noise of unit variance at its knots: float32 [side, side]."""
    knots = Image.fromarray(rng.standard_normal((cells, cells), np.float32))
    return np.asarray(knots.resize((side, side), Image.Resampling.BICUBIC))


def rolling_skyline(canvas: Canvas, base: float, amplitude: float) -> npt.NDArray[np.float64]:
    """Return a rolling outline around `base`, smaller y is higher."""
    rng, xs = canvas.rng, np.linspace(0, 1, 49)
    waves = [
        np.sin(2 * np.pi * (frequency * xs + rng.random())) / frequency
        for frequency in rng.uniform(0.6, 7, 5)
    ]
    return np.asarray(base + amplitude * np.sum(waves, axis=0) / 1.5, np.float64)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return `share` of the second colour in the first."""
    red, green, blue = (
        round(a * (1 - share) + b * share) for a, b in zip(first, second, strict=True)
    )
    return red, green, blue
