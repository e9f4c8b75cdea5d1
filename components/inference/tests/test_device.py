"""A GPU is taken where torch can use one, and never where the engine cannot."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from components.inference.device import choose_device, nth_device, survives_fork
from shared.component.errors import UsageError


@pytest.fixture
def driver(tmp_path: Path) -> Path:
    path = tmp_path / "nvidiactl"
    path.touch()
    return path


def take_torch(monkeypatch: pytest.MonkeyPatch, root: Path, *, has_cuda: bool) -> None:
    """Let Python find a torch that has CUDA, or has it not."""
    library = root / "torch" / "lib" / "libtorch_cuda.so"
    library.parent.mkdir(parents=True)
    if has_cuda:
        library.touch()
    origin = root / "torch" / "__init__.py"
    spec = importlib.util.spec_from_file_location("torch", origin)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: spec)


@pytest.fixture
def torch_with_cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take_torch(monkeypatch, tmp_path, has_cuda=True)


@pytest.mark.usefixtures("torch_with_cuda")
@pytest.mark.parametrize(
    ("asked", "engine", "shown", "device"),
    [
        ("auto", "auto", None, "cuda"),
        ("auto", "torchscript", "0,1", "cuda"),
        ("auto", "onnx", None, "cpu"),
        ("auto", "auto", "", "cpu"),
        ("auto", "auto", "-1", "cpu"),
        ("cpu", "torchscript", None, "cpu"),
        ("cuda", "torchscript", None, "cuda"),
    ],
)
def test_with_a_gpu(driver: Path, asked: str, engine: str, shown: str | None, device: str) -> None:
    environ = {} if shown is None else {"CUDA_VISIBLE_DEVICES": shown}
    assert choose_device(asked, engine, environ, driver) == device


@pytest.mark.usefixtures("torch_with_cuda")
def test_without_a_driver_it_is_the_cpu(tmp_path: Path) -> None:
    assert choose_device("auto", "auto", {}, tmp_path / "none") == "cpu"


def test_a_torch_for_cpus_takes_the_cpu_beside_a_gpu(
    driver: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_torch(monkeypatch, tmp_path, has_cuda=False)
    assert choose_device("auto", "auto", {}, driver) == "cpu"
    with pytest.raises(UsageError, match=r"built for CPUs; install .*, or use --device cpu"):
        choose_device("cuda", "auto", {}, driver)


def test_an_engine_for_cpus_is_refused_a_gpu(driver: Path) -> None:
    with pytest.raises(UsageError, match=r"onnx engine runs on CPUs; choose --engine"):
        choose_device("cuda", "onnx", {}, driver)


def test_only_the_cpu_survives_a_fork() -> None:
    assert survives_fork("cpu")
    assert not survives_fork("cuda")


@pytest.mark.parametrize(
    ("device", "number", "shown", "found"),
    [
        ("cpu", 1, 2, "cpu"),
        ("cuda", 0, 2, "cuda:0"),
        ("cuda", 1, 2, "cuda:1"),
        ("cuda", 3, 2, "cuda:1"),  # the machine has more than are shown
        ("cuda", None, 2, "cuda:0"),
        ("cuda", 1, 0, "cuda:0"),  # none: the engine says so
    ],
)
def test_gpus_are_dealt_out_to_workers(
    monkeypatch: pytest.MonkeyPatch, device: str, number: int | None, shown: int, found: str
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: shown)
    assert nth_device(device, number) == found
