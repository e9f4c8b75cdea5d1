from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.preprocess.near_duplicates import group_ids, near_pairs, near_to
from components.preprocess.scan import ImageRef, ScannedImage
from components.preprocess.splits import split_off

Hashes = st.lists(
    st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 255)), max_size=40, unique=True
)


def _image(number: int, phash: int, class_name: str = "sea") -> ScannedImage:
    return ScannedImage(
        ref=ImageRef(str(number)),
        role="train",
        class_name=class_name,
        source=str(number),
        sha256=f"{number:064x}",
        phash=phash,
    )


@given(hashes=Hashes, bits=st.integers(0, 16))
def test_finds_exactly_the_pairs_a_full_comparison_finds(hashes: list[int], bits: int) -> None:
    expected = {
        (i, j)
        for i, j in itertools.combinations(range(len(hashes)), 2)
        if (hashes[i] ^ hashes[j]).bit_count() <= bits
    }
    found = near_pairs(np.array(hashes, np.uint64), bits).tolist()
    assert {tuple(pair) for pair in found} == expected
    assert len(found) == len(expected)


@given(
    hashes=st.lists(st.integers(0, 2**12), min_size=4, max_size=60),
    bits=st.integers(0, 3),
    fraction=st.floats(0.05, 0.5),
    seed=st.integers(0, 99),
)
def test_near_duplicates_never_straddle_a_split(hashes, bits, fraction, seed) -> None:
    images = [_image(n, phash) for n, phash in enumerate(hashes)]
    if len(set(group_ids(images, bits))) < 2:
        return
    taken, rest = split_off(images, fraction, bits, f"test:{seed}")
    assert taken
    assert rest
    assert sorted(i.source for i in taken + rest) == sorted(i.source for i in images)
    assert near_to(taken, rest, bits) == {}
    shuffled = split_off(images[::-1], fraction, bits, f"test:{seed}")
    assert {i.source for i in shuffled[0]} == {i.source for i in taken}


@pytest.mark.parametrize("bits", [0, 4])
def test_many_equal_hashes_cost_no_memory(bits: int) -> None:
    images = [_image(n, 0) for n in range(20_000)]
    assert set(group_ids(images, bits)) == {0}


def test_pinned_images_stay_with_their_group() -> None:
    images = [_image(n, phash) for n, phash in enumerate([0, 1, 2**40 - 1, 2**63 + 2**20])]
    for seed in range(20):
        taken, _ = split_off(images, 0.5, 4, f"val:{seed}", pinned={images[0].sha256})
        assert not {"0", "1"} & {image.source for image in taken}
