"""One definition from image to tensor."""

from __future__ import annotations

import numpy as np
import pytest

from shared.vision.tests.factories import SPEC, colour_image, encode
from shared.vision.transform_spec import TransformSpec
from shared.vision.transforms import (
    decode_pixels,
    normalise,
    prepare,
)


def test_normalise_is_value_minus_mean_over_std():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    spec = TransformSpec(4, 4)
    expected = (pixels / 255 - np.array(spec.mean)) / np.array(spec.std)
    assert np.allclose(normalise(pixels, spec), expected.transpose(0, 3, 1, 2), atol=1e-5)


def test_channels_last_is_another_place_for_the_same_numbers():
    pixels = np.random.default_rng(1).integers(0, 256, (2, 6, 4, 3), dtype=np.uint8)
    first, last = (normalise(pixels, SPEC, is_channels_last) for is_channels_last in (False, True))
    assert np.array_equal(first, last)
    assert first.flags.c_contiguous
    assert np.moveaxis(last, 1, -1).flags.c_contiguous


@pytest.mark.parametrize("shape", [(40, 40), (150, 90), (33, 200), (16, 16), (2, 60)])
def test_every_size_becomes_the_models_size(shape):
    data = encode(np.zeros((*shape, 3), dtype=np.uint8))
    assert decode_pixels(data, SPEC).shape == (SPEC.image_size, SPEC.image_size, 3)


def test_the_centre_is_kept():
    pixels = np.zeros((40, 120, 3), dtype=np.uint8)
    pixels[:, 40:80] = 255
    assert decode_pixels(encode(pixels), SPEC)[:, 4:-4].min() > 250


def test_prepare_stacks_what_decode_and_normalise_give():
    images = [colour_image("red", 1), colour_image("blue", 2, side=57)]
    batch = prepare(images, SPEC)
    assert batch.dtype == np.float32
    assert np.array_equal(batch[1], normalise(decode_pixels(images[1], SPEC), SPEC))


def test_the_spec_survives_json():
    import json

    assert TransformSpec.from_dict(json.loads(json.dumps(SPEC.to_dict()))) == SPEC
