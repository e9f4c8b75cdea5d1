"""Tiny data sets and bundles for tests: colours as classes, a network that knows them."""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from shared.vision.bundle import Bundle, BundleInfo, write_bundle
from shared.vision.dataset import (
    Dataset,
    DatasetInfo,
    Sample,
    fingerprint,
    shard_name,
    write_info,
    write_shard,
)
from shared.vision.transform_spec import TransformSpec

COLOURS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (200, 50, 40)}
SIZE = 32
SPEC = TransformSpec(SIZE, SIZE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def encode(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format=kind)
    return stream.getvalue()


def colour_image(name: str, seed: int, side: int = 40, noise: float = 30.0) -> bytes:
    """Return a noisy PNG of one colour, unlike any of another seed."""
    generator = np.random.default_rng((seed, sorted(COLOURS).index(name)))
    pixels = np.array(COLOURS[name]) + generator.normal(0, noise, (side, side, 3))
    return encode(np.clip(pixels, 0, 255).astype(np.uint8))


def sample(name: str, seed: int, **image: float) -> Sample:
    data = colour_image(name, seed, **image)
    return Sample(data, "png", name, f"{name}/{seed}.png", "raw", hashlib.sha256(data).hexdigest())


def make_dataset(
    folder: Path, train: int = 12, val: int = 6, test: int = 8, shard_images: int = 10
) -> Dataset:
    """Write a data set with so many images per class and split."""
    folder.mkdir(parents=True, exist_ok=True)
    shards: dict[str, list[str]] = {}
    counts: dict[str, dict[str, int]] = {}
    identity = []
    for number, (split, per_class) in enumerate({"train": train, "val": val, "test": test}.items()):
        samples = [
            sample(name, 1000 * number + i) for i in range(per_class) for name in sorted(COLOURS)
        ]
        counts[split] = dict.fromkeys(sorted(COLOURS), per_class)
        identity += [(split, s.class_name or "", s.sha256) for s in samples]
        shards[split] = []
        for index, start in enumerate(range(0, len(samples), shard_images)):
            name = shard_name(split, index)
            write_shard(folder, name, samples[start : start + shard_images])
            shards[split].append(f"{name}.tar")
    write_info(
        folder,
        DatasetInfo(
            classes=sorted(COLOURS),
            counts=counts,
            shards=shards,
            fingerprint=fingerprint(identity),
            test_fingerprint=fingerprint(i for i in identity if i[0] == "test"),
            image_size=SIZE,
        ),
    )
    return Dataset.open(folder)


class Features(nn.Module):
    """Pool to an 8 x 8 map of colours."""

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(images, 4)


class Head(nn.Module):
    """Compare the mean colour of a region with each class's colour.

    region: rows and columns of the 8 x 8 map that count; the rest is ignored.
    """

    def __init__(self, sharpness: float, region: slice) -> None:
        super().__init__()
        colours = torch.tensor([COLOURS[name] for name in sorted(COLOURS)]) / 127.5 - 1
        self.weight = nn.Parameter(sharpness * colours)
        self.bias = nn.Parameter(-sharpness * colours.square().sum(1) / 2)
        self.start, self.stop = region.start, region.stop

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        seen = features[:, :, self.start : self.stop, self.start : self.stop]
        embedding = seen.mean(dim=(2, 3))
        return nn.functional.linear(embedding, self.weight, self.bias), embedding


class Network(nn.Module):
    def __init__(self, sharpness: float = 8.0, region: slice = slice(0, 8)) -> None:
        super().__init__()
        self.features = Features()
        self.head = Head(sharpness, region)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        logits, embedding = self.head(self.features(images))
        return logits, embedding


def export_onnx(network: nn.Module) -> bytes:
    """Return a network as ONNX, for any batch size."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own, of its own internals
        program = torch.onnx.export(
            network,
            (torch.zeros(2, 3, SIZE, SIZE),),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=["images"],
            output_names=["logits", "embeddings"],
            verbose=False,
        )
    return program.model_proto.SerializeToString()


def make_bundle(
    folder: Path,
    dataset: Dataset | None = None,
    network: nn.Module | None = None,
    classes: tuple[str, ...] = tuple(sorted(COLOURS)),
    has_onnx: bool = False,
) -> Bundle:
    """Write a bundle of a network that needs no training.

    has_onnx: write model.onnx too, which takes seconds the first time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    network = (network or Network()).eval()
    with torch.inference_mode():
        _, embedding = network(torch.zeros(1, 3, SIZE, SIZE))
    torch.jit.script(network).save(str(folder / "model.ts"))
    save_file(network.state_dict(), folder / "weights.safetensors")
    if has_onnx:
        (folder / "model.onnx").write_bytes(export_onnx(network))
    return write_bundle(
        folder,
        BundleInfo(
            classes=classes,
            transform=SPEC,
            model_name="colours",
            embedding_size=embedding.shape[1],
            parity=0.0,
            onnx_parity=0.0 if has_onnx else None,
            dataset_fingerprint=dataset.info.fingerprint if dataset else "",
            test_fingerprint=dataset.info.test_fingerprint if dataset else "",
            code_version="test",
        ),
    )
