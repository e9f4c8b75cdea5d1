"""An epoch is every image once, the same on any number of workers and ranks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from components.train.augmentations import policy
from components.train.loader import (
    BatchKey,
    EpochBatches,
    OrderedBatches,
    TrainingBatches,
    loader,
)
from shared.vision.tests.factories import SPEC, make_dataset
from shared.vision.transforms import decode_pixels


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data")).split("train")


def indices(keys) -> list[int]:
    return [int(i) for key in keys for i in key.indices]


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize(("images", "batch_size"), [(36, 8), (37, 8), (7, 16), (100, 33)])
def test_the_ranks_together_see_every_image_once(images, batch_size, world_size):
    ranks = [EpochBatches(images, batch_size, 0, r, world_size) for r in range(world_size)]
    assert sorted(i for rank in ranks for i in indices(rank)) == list(range(images))
    assert len({len(list(rank)) for rank in ranks}) == 1  # or one rank would wait for ever


@pytest.mark.parametrize("images", range(4, 40))
def test_no_batch_is_a_single_image(images):
    assert min(len(key.indices) for key in EpochBatches(images, 4, 0)) >= 2


def test_every_epoch_and_seed_has_an_order_of_its_own():
    batches = EpochBatches(50, 10, seed=1)
    first = indices(batches)
    assert indices(batches) == first
    batches.set_epoch(1)
    assert indices(batches) != first
    assert indices(EpochBatches(50, 10, seed=2)) != first


def test_validation_sees_every_image_once_in_order():
    assert indices(OrderedBatches(23, 5)) == list(range(23))


@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_workers_changes_nothing(split, workers):
    batches = TrainingBatches(split, SPEC, policy("medium", SPEC.image_size))
    keys = EpochBatches(len(split), 8, seed=3)
    alone = list(loader(batches, keys, 0, pin_memory=False))
    together = list(loader(batches, keys, workers, pin_memory=False))
    for (one, label), (other, same_label) in zip(alone, together, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(label, same_label)


def test_without_augmentation_training_sees_the_pixels_that_serving_sees(split):
    pixels, labels = TrainingBatches(split, SPEC, None)[BatchKey((0, 0, 0, 0), np.arange(6))]
    for row, index in enumerate(range(6)):
        assert np.array_equal(pixels[row].numpy(), decode_pixels(split.read(index), SPEC))
    assert labels.tolist() == split.labels[:6].tolist()
