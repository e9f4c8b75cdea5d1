"""Shards to batches: which images when, decoded and augmented in worker processes.

The unit of work is a batch. Its images and its random numbers follow from (seed,
epoch, batch number) alone, so an epoch is the same on any number of workers. Batches
travel as uint8 [B, size, size, 3]: a quarter of the bytes of floats between the
processes, and already channels-last for the network, which normalises on its device.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import albumentations as A
import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from shared.vision.dataset import Split
from shared.vision.images import decode_rgb
from shared.vision.transform_spec import TransformSpec
from shared.vision.transforms import prepare_pixels


class BatchKey(NamedTuple):
    """One batch of work: where its random numbers start, and which images."""

    seed: tuple[int, int, int, int]
    indices: npt.NDArray[np.int64]


class EpochBatches(Sampler[BatchKey]):
    """Batches of one epoch: every image exactly once over all ranks.

    The permutation is dealt to the ranks in turn and cut into equally many batches on
    each, whose sizes differ by at most one; none holds a single image, on which batch
    normalisation fails. Lightning calls `set_epoch`.

    epoch, first: where a resumed run goes on; only its first epoch begins with batch `first`.
    """

    def __init__(
        self, images: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        self.epoch = self.first = 0
        self.images, self.seed = images, seed
        self.rank, self.world_size = rank, world_size
        self.batches = max(1, -(-images // (batch_size * world_size)))

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[BatchKey]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.images)
        mine = order[self.rank :: self.world_size]
        parts = np.array_split(mine, self.batches)
        first, self.first = self.first, 0
        for number in range(first, self.batches):
            yield BatchKey((self.seed, self.epoch, self.rank, number), parts[number])


@dataclass(frozen=True)
class TrainingBatches(Dataset[tuple[Tensor, Tensor]]):
    """Decode and augment whole batches.

    augment: None leaves the geometry of evaluation: resize and centre crop.
    """

    split: Split
    transform: TransformSpec
    augment: A.Compose | None

    def __getitem__(self, key: BatchKey) -> tuple[Tensor, Tensor]:
        """Return uint8 [B, size, size, 3] and int64 [B]."""
        size = self.transform.image_size
        pixels = np.empty((len(key.indices), size, size, 3), dtype=np.uint8)
        if self.augment is not None:
            self.augment.set_random_seed(int(np.random.SeedSequence(key.seed).generate_state(1)[0]))
        for row, index in enumerate(key.indices):
            pixels[row] = self._pixels(self.split.read(int(index)))
        return torch.from_numpy(pixels), torch.from_numpy(self.split.labels[key.indices])

    def _pixels(self, data: bytes) -> npt.NDArray[np.uint8]:
        # A crop of a third of the area still has the network's side in pixels.
        image = decode_rgb(data, at_least=2 * self.transform.image_size)
        if self.augment is None:
            return prepare_pixels(image, self.transform)
        return np.asarray(self.augment(image=np.array(image))["image"])


class OrderedBatches(Sampler[BatchKey]):
    """Every image once, in order, dealt to the ranks: for validation."""

    def __init__(self, images: int, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        mine = np.arange(rank, images, world_size)
        self.parts = np.array_split(mine, max(1, -(-len(mine) // batch_size)))

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[BatchKey]:
        for number, indices in enumerate(self.parts):
            yield BatchKey((0, 0, 0, number), indices)


def loader(
    batches: TrainingBatches, keys: Sampler[BatchKey], workers: int, pin_memory: bool
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Load batches in `workers` processes that stay alive between epochs."""
    return DataLoader(
        batches,
        sampler=keys,
        batch_size=None,  # a key already stands for a batch
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
        pin_memory=pin_memory,
        worker_init_fn=_one_thread,
    )


def worker_count(requested: int) -> int:
    """Return `requested`; for -1 one worker per core, or per two where the CPU also trains."""
    cores = len(os.sched_getaffinity(0))
    if requested >= 0:
        return requested
    return cores if torch.cuda.is_available() else max(1, cores // 2)


def limit_threads(workers: int) -> None:
    """Leave the training threads the cores that no loader process uses.

    More threads than cores cost far more than they give: those that wait for one another
    spin, on cores that the loader needs (4 times slower on two cores).
    """
    free = max(1, len(os.sched_getaffinity(0)) - workers)
    torch.set_num_threads(min(free, torch.get_num_threads()))  # OMP_NUM_THREADS may say fewer


def _one_thread(_worker: int) -> None:
    """Keep each worker on one core; the processes are the parallelism."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
