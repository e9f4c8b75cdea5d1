"""Where the network runs: on a GPU that is there, or not at all where the GPU asked for is not."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from ci.tests.live import UNFORKED, Live, assert_all_gone, serving
from components.inference.model_server import MODEL_NAME
from components.inference.upstream import Upstream
from shared.vision.tests.factories import colour_image
from shared.vision.tests.gpu import needs_gpu

pytestmark = pytest.mark.faults

COLOURS = ("red", "green", "blue")


def assert_answers_and_ends(live: Live) -> None:
    for number in range(30):
        colour = COLOURS[number % 3]
        assert live.ask(colour_image(colour, number)).label == colour
    family = live.family()
    assert live.end() == 0
    assert_all_gone(family)
    assert live.runs() == []


def count_on_gpu(live: Live) -> int:
    """Return how many workers multi-model-server has given a GPU."""

    async def ask() -> bytes:
        upstream = Upstream(next(iter(live.runs())) / "management.sock")
        try:
            return (await upstream.request("GET", f"/models/{MODEL_NAME}")).body
        finally:
            upstream.close()

    return sum(worker["gpu"] for worker in json.loads(asyncio.run(ask()))["workers"])


def test_workers_that_load_the_model_themselves_answer(bundle: Path, place: Path) -> None:
    with serving(bundle, place, program=UNFORKED) as live:
        assert count_on_gpu(live) == 2  # so it believes
        assert_answers_and_ends(live)


def test_on_the_cpu_no_worker_is_given_a_gpu(server: Live) -> None:
    assert count_on_gpu(server) == 0


def test_a_gpu_answers(bundle: Path, place: Path) -> None:
    needs_gpu()
    with serving(bundle, place, "--device", "cuda") as live:
        assert_answers_and_ends(live)


def test_a_gpu_that_is_not_there_ends_the_start_with_the_reason(bundle: Path, place: Path) -> None:
    hidden = {"CUDA_VISIBLE_DEVICES": "-1"}
    with serving(bundle, place, "--device", "cuda", is_ready=False, env=hidden) as live:
        family = live.family()
        assert live.process.wait(60) == 1
        (line,) = [line for line in live.said().splitlines() if line.startswith("error: ")]
        assert "finds no GPU that it can use" in line
        assert_all_gone(family)


def test_onnx_runs_on_no_gpu(bundle: Path, place: Path) -> None:
    flags = ("--device", "cuda", "--engine", "onnx")
    with serving(bundle, place, *flags, is_ready=False) as live:
        assert live.process.wait(20) == 2
        (line,) = live.said().splitlines()
        assert "the onnx engine runs on CPUs; choose --engine torchscript" in line
