"""One lock for both builds of torch: CUDA's packages apart, the CPU wheels recorded."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ci.split_locks import LockError, split

PYPI, CPU, OTHER = (f"--hash=sha256:{digit * 64}" for digit in "1c2")
MARKER = "; platform_machine == 'x86_64'"
LOCK = f"""\
numpy==1.26.4 {MARKER} \\
    {OTHER}
nvidia-cublas==13.1.1.3 {MARKER} \\
    {OTHER}
torch==2.13.0 {MARKER} \\
    {PYPI}
triton==3.7.1 {MARKER} \\
    {OTHER}
"""
VISION = f"torchvision==0.28.0 {MARKER} \\\n    {OTHER}\n"


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A repository with a torch component, one that also has torchvision, and a light one."""
    locks = {"serve": LOCK, "learn": LOCK + VISION, "fetch": f"numpy==1.26.4 {OTHER}\n"}
    for name, text in locks.items():
        (tmp_path / "components" / name).mkdir(parents=True)
        (tmp_path / "components" / name / "requirements.txt").write_text(text)
    (tmp_path / "containers/torch").mkdir(parents=True)
    (tmp_path / "containers/torch/cpu.txt").write_text(f"torch==2.13.0+cpu {CPU}\n")
    return tmp_path


def lock(house: Path, name: str) -> str:
    return (house / "components" / name / "requirements.txt").read_text()


def test_cuda_moves_out_of_every_lock(house: Path) -> None:
    split(house)
    cuda = (house / "containers/torch/cuda.txt").read_text()
    assert [line.split("==")[0] for line in cuda.splitlines() if "==" in line.split(";")[0]] == [
        "nvidia-cublas",
        "triton",
    ]
    for name in ("serve", "learn", "fetch"):
        assert "nvidia" not in lock(house, name)
        assert "triton" not in lock(house, name)
        assert "numpy==1.26.4" in lock(house, name)


def test_a_second_time_changes_nothing(house: Path) -> None:
    split(house)
    before = {path: path.read_text() for path in house.rglob("*.txt")}
    split(house)
    assert {path: path.read_text() for path in house.rglob("*.txt")} == before


def test_wheels_of_another_version_are_refused(house: Path) -> None:
    (house / "containers/torch/cpu.txt").write_text(f"torch==2.12.0+cpu {CPU}\n")
    with pytest.raises(LockError, match=r"torch is 2\.13\.0.*of 2\.12\.0; run make lock WHEELS"):
        split(house)


def test_wheels_are_recorded_by_their_content(house: Path, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl").write_bytes(b"wheel")
    split(house, wheels)
    of_wheel = f"--hash=sha256:{hashlib.sha256(b'wheel').hexdigest()}"
    assert of_wheel in (house / "containers/torch/cpu.txt").read_text()
    assert CPU not in (house / "containers/torch/cpu.txt").read_text()
    assert CPU not in lock(house, "serve")
    with pytest.raises(LockError, match="holds no torch"):
        split(house, house / "components")
