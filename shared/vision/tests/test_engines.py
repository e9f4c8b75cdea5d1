"""Engines: they agree, the right one is chosen, and what is unfit is refused."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from shared.vision.bundle import open_bundle, write_bundle
from shared.vision.engines import OnnxEngine, TorchScriptEngine, open_engine
from shared.vision.errors import BundleError
from shared.vision.predictor import Predictor
from shared.vision.tests.factories import COLOURS, SIZE, colour_image, make_bundle
from shared.vision.tests.gpu import needs_gpu

# Answers with a bundle through ONNX, in the process and in a child it forks.
SERVE = """
import json, os, sys
from pathlib import Path
import numpy as np
from shared.vision.bundle import open_bundle
from shared.vision.predictor import Predictor

with open_bundle(Path(sys.argv[1])) as bundle:
    predictor = Predictor(bundle, engine="auto", threads=1)
image = Path(sys.argv[2]).read_bytes()
before = len(os.listdir("/proc/self/task"))
answer = predictor.predict([image]).probabilities[0].tolist()
reader, writer = os.pipe()
if os.fork() == 0:
    os.write(writer, json.dumps(predictor.predict([image]).probabilities[0].tolist()).encode())
    os._exit(0)
os.wait()
forked = json.loads(os.read(reader, 10_000))
print(json.dumps({"torch": "torch" in sys.modules, "threads": before, "same": forked == answer}))
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundles") / "b", has_onnx=True)


def odd_images() -> list[bytes]:
    """Return images of odd sizes and modes."""
    generator = np.random.default_rng(0)
    noise = Image.fromarray(generator.integers(0, 256, (61, 37, 3), dtype=np.uint8))
    made = [colour_image(name, 3, side=side) for name in COLOURS for side in (1, 31, 203)]
    for mode, kind in (("L", "PNG"), ("CMYK", "JPEG"), ("RGBA", "PNG"), ("P", "PNG")):
        stream = io.BytesIO()
        noise.convert(mode).save(stream, format=kind)
        made.append(stream.getvalue())
    stream = io.BytesIO()
    Image.fromarray(generator.integers(0, 65536, (50, 50), dtype=np.uint16)).save(stream, "PNG")
    return [*made, stream.getvalue()]


@pytest.mark.parametrize("other", [("onnx", False), ("torchscript", True)], ids=str)
def test_engines_agree_on_odd_images_at_every_batch_size(bundle, other):
    reference = Predictor(bundle)
    predictor = Predictor(bundle, engine=other[0], is_frozen=other[1])
    images = odd_images()
    for count in (1, 3, len(images)):
        expected, said = reference.predict(images[:count]), predictor.predict(images[:count])
        for part in ("logits", "probabilities", "embeddings"):
            assert np.abs(getattr(expected, part) - getattr(said, part)).max() < 1e-4
            assert getattr(said, part).dtype == np.float32


def test_auto_takes_onnx_where_its_parity_is_proven(bundle, tmp_path):
    assert open_engine(bundle, "auto").name == "onnx"
    assert open_engine(make_bundle(tmp_path / "b"), "auto").name == "torchscript"
    unproven = replace(bundle, info=replace(bundle.info, onnx_parity=None))
    assert open_engine(unproven, "auto").name == "torchscript"
    assert Predictor(bundle).engine.name == "torchscript"


def test_auto_takes_torchscript_where_onnx_runtime_is_absent(bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # what Python does for "not there"
    assert open_engine(bundle, "auto").name == "torchscript"
    with pytest.raises(BundleError, match=r"onnxruntime is not installed; choose"):
        open_engine(bundle, "onnx")


def test_auto_takes_torchscript_off_the_cpu(bundle, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)  # only TorchScript asks
    with pytest.raises(BundleError, match=r"finds no GPU .* take the cpu"):
        open_engine(bundle, "auto", device="cuda")
    with pytest.raises(BundleError, match="runs on the cpu, not on cuda"):
        open_engine(bundle, "onnx", device="cuda")


def test_a_gpu_gives_the_answers_of_the_cpu(tmp_path):
    needs_gpu()
    bundle = make_bundle(tmp_path / "b")
    images = [colour_image(colour, n) for n, colour in enumerate(COLOURS)]
    with_tf32 = torch.backends.cudnn.allow_tf32
    try:
        on_gpu = Predictor(bundle, "cuda", is_frozen=True).predict(images)
    finally:
        torch.backends.cudnn.allow_tf32 = with_tf32
    said = Predictor(bundle).predict(images)
    assert np.abs(on_gpu.probabilities - said.probabilities).max() <= 1e-4


def test_onnx_that_is_not_there_is_refused_with_a_remedy(tmp_path):
    with pytest.raises(BundleError, match=r"no model\.onnx .* choose engine torchscript"):
        Predictor(make_bundle(tmp_path / "b"), engine="onnx")


def test_an_unknown_engine_is_refused(bundle):
    with pytest.raises(BundleError, match="one of torchscript, onnx, auto"):
        open_engine(bundle, "tensorrt")


def test_other_bytes_in_place_of_the_onnx_are_refused(bundle, tmp_path):
    copy = make_bundle(tmp_path / "b")
    (copy.folder / "model.onnx").write_bytes(b"no network")
    fresh = write_bundle(copy.folder, replace(copy.info, onnx_parity=0.0))
    with pytest.raises(BundleError, match=r"model\.onnx is no ONNX that onnxruntime"):
        open_engine(fresh, "onnx")


@pytest.mark.parametrize("name", ["torchscript", "onnx"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ("a", "b", "c", "d")}, r"3 classes, bundle\.json names 4"),
        ({"embedding_size": 5}, r"shape \(3,\), bundle\.json names 5 numbers"),
    ],
    ids=["classes", "embedding"],
)
def test_an_answer_that_does_not_fit_the_bundle_is_refused(bundle, name, change, message):
    with pytest.raises(BundleError, match=message):
        open_engine(replace(bundle, info=replace(bundle.info, **change)), name)


def test_only_torchscript_has_a_module(bundle):
    assert Predictor(bundle).module.training is False
    with pytest.raises(BundleError, match="onnx engine has no module; choose"):
        _ = Predictor(bundle, engine="onnx").module


def test_the_plain_module_keeps_its_weights_and_the_frozen_one_has_none(bundle):
    assert len(list(TorchScriptEngine(bundle).module.parameters())) == 2
    assert not list(TorchScriptEngine(bundle, is_frozen=True).module.parameters())


def test_the_size_of_a_batch_is_free(bundle):
    engine = OnnxEngine(bundle, threads=1)
    for count in (1, 2, 5, 64):
        logits, embeddings = engine.forward(np.zeros((count, 3, SIZE, SIZE), dtype=np.float32))
        assert (logits.shape, embeddings.shape) == ((count, 3), (count, 3))


def test_serving_with_onnx_imports_no_torch_starts_no_thread_and_may_fork(bundle, tmp_path):
    image = tmp_path / "image.png"
    image.write_bytes(colour_image("red", 1))
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(bundle.folder), str(image)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"torch": False, "threads": 1, "same": True}


def test_a_bundle_from_before_onnx_opens(tmp_path):
    folder = make_bundle(tmp_path / "b").folder
    document = json.loads((folder / "bundle.json").read_text())
    del document["onnx_parity"]
    (folder / "bundle.json").write_text(json.dumps(document))
    with open_bundle(folder) as opened:
        assert opened.onnx is None
