"""Policies are chosen by name or file, and do something."""

from __future__ import annotations

import albumentations as A
import numpy as np
import pytest

from components.train.augmentations import POLICIES, policy
from shared.component.errors import StorageError, UsageError

IMAGE = np.random.default_rng(0).integers(0, 256, (70, 50, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_gives_varied_images_of_the_size(name):
    augment = policy(name, 48)
    augment.set_random_seed(0)
    seen = [augment(image=IMAGE)["image"] for _ in range(8)]
    assert {image.shape for image in seen} == {(48, 48, 3)}
    assert {image.dtype for image in seen} == {np.dtype("uint8")}
    assert len({image.tobytes() for image in seen}) == 8


@pytest.mark.parametrize("name", POLICIES)
def test_the_same_seed_gives_the_same_images(name):
    augment = policy(name, 48)
    pictures = []
    for _ in range(2):
        augment.set_random_seed(5)
        pictures.append(np.stack([augment(image=IMAGE)["image"] for _ in range(4)]))
    assert np.array_equal(*pictures)


def test_none_leaves_the_geometry_of_serving():
    assert policy("none", 48) is None


def test_a_file_is_a_policy(tmp_path):
    path = tmp_path / "policy.json"
    A.save(A.Compose([A.VerticalFlip(p=1)]), path, data_format="json")
    augmented = policy(f"file://{path}", 50)(image=IMAGE[:50])["image"]
    assert np.array_equal(augmented, IMAGE[:50][::-1])


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UsageError, match="choose one of none, light, medium, strong, realworld"):
        policy("heavy", 48)


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "policy.json").write_text("{}")
    with pytest.raises(UsageError, match="no albumentations JSON"):
        policy(f"file://{tmp_path}/policy.json", 48)
    with pytest.raises(StorageError):
        policy(f"file://{tmp_path}/missing.json", 48)
