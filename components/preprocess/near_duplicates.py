"""Find pictures that are nearly the same, among tens of thousands, in seconds.

Two 64-bit hashes within `bits` of each other agree fully in at least one of `bits + 1`
bands (the pigeonhole principle), so only hashes that share a band are compared
(Manku et al., Detecting Near-Duplicates for Web Crawling, 2007).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from components.preprocess.scan import ScannedImage

HashArray = npt.NDArray[np.uint64]
IndexPairs = npt.NDArray[np.int64]
_HASH_BITS = 64
_COMPARED_AT_ONCE = 4_000_000  # 32 MB of hashes
# Mean difference of the 8 x 8 colours, of 255: re-encoding and scaling stay below 4.
_SAME_PICTURE = 8.0
# A hash shared by so many is that of a blank or a template and proves nothing.
_CROWD = 100


def near_pairs(hashes: HashArray, bits: int) -> IndexPairs:
    """Return all i < j whose hashes differ in at most `bits` bits: int64 [n, 2], sorted.

    hashes: uint64 [images], without repeats.
    """
    found = [np.empty((0, 2), np.int64)]
    edges = np.linspace(0, _HASH_BITS, bits + 2).astype(int)
    for low, high in pairwise(edges.tolist()):
        band = (hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(band, kind="stable")
        starts = np.flatnonzero(np.diff(band[order], prepend=band[order][:1]))
        for bucket in np.split(order, starts):
            if len(bucket) > 1:
                found += _within_bucket(hashes, bucket, bits)
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


def group_ids(images: Sequence[ScannedImage], bits: int) -> list[int]:
    """Return a number per image; near-duplicates, and theirs in turn, share it."""
    hashes, member_of = _distinct_hashes(images)
    parents = list(range(len(hashes)))

    def root(node: int) -> int:
        while parents[node] != node:
            parents[node] = node = parents[parents[node]]
        return node

    for first, second in near_pairs(hashes, bits).tolist():
        parents[root(second)] = root(first)
    return [root(node) for node in member_of.tolist()]


def near_to(
    images: Sequence[ScannedImage], others: Sequence[ScannedImage], bits: int
) -> dict[int, int]:
    """Map the index of each image that is near one of the others to that one's index."""
    hashes, member_of = _distinct_hashes([*images, *others])
    example = {}
    for index in range(len(others) - 1, -1, -1):
        example[int(member_of[len(images) + index])] = index
    near = dict(example)
    for first, second in near_pairs(hashes, bits).tolist():
        for mine, theirs in ((first, second), (second, first)):
            if theirs in example:
                near.setdefault(mine, example[theirs])
    nodes = enumerate(member_of[: len(images)].tolist())
    return {index: near[node] for index, node in nodes if node in near}


def same_picture_pairs(images: Sequence[ScannedImage], bits: int) -> Iterator[tuple[int, int]]:
    """Yield pairs with near hashes and the same colours: one picture, saved twice."""
    hashes, member_of = _distinct_hashes(images)
    order = np.argsort(member_of, kind="stable")
    members = np.split(order, np.searchsorted(member_of[order], np.arange(1, len(hashes))))
    own = [(node, node) for node, found in enumerate(members) if 1 < len(found) <= _CROWD]
    for first, second in [*own, *near_pairs(hashes, bits).tolist()]:
        if max(len(members[first]), len(members[second])) > _CROWD:
            continue
        for a in members[first].tolist():
            for b in members[second].tolist():
                if (first != second or a < b) and _same_colours(images[a], images[b]):
                    yield min(a, b), max(a, b)


def _within_bucket(hashes: HashArray, bucket: IndexPairs, bits: int) -> list[IndexPairs]:
    """Compare all hashes of one bucket, in blocks of bounded size."""
    found = []
    rows = max(1, _COMPARED_AT_ONCE // len(bucket))
    for start in range(0, len(bucket), rows):
        block = bucket[start : start + rows]
        distance = _count_bits(hashes[block][:, None] ^ hashes[bucket][None, :])
        row, column = np.nonzero(distance <= bits)
        is_upper = row + start < column
        found.append(np.stack([block[row[is_upper]], bucket[column[is_upper]]], axis=1))
    return found


def _count_bits(words: HashArray) -> HashArray:
    """Count the set bits of each word (Hacker's Delight, 5-1)."""
    ones, twos, fours = (
        np.uint64(mask) for mask in (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F)
    )
    words = words - ((words >> np.uint64(1)) & ones)
    words = (words & twos) + ((words >> np.uint64(2)) & twos)
    words = (words + (words >> np.uint64(4))) & fours
    return (words * np.uint64(0x0101010101010101)) >> np.uint64(56)


def _distinct_hashes(images: Sequence[ScannedImage]) -> tuple[HashArray, IndexPairs]:
    """Return the distinct hashes, and for each image which of them it has."""
    hashes = np.array([image.phash for image in images], np.uint64)
    distinct, member_of = np.unique(hashes, return_inverse=True)
    return distinct, member_of


def _same_colours(first: ScannedImage, second: ScannedImage) -> bool:
    a, b = (np.frombuffer(image.colours, np.uint8).astype(int) for image in (first, second))
    return float(np.abs(a - b).mean()) < _SAME_PICTURE
