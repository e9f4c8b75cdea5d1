"""The limit of the serving benchmark: real answers, counted, in processes that end."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

from ci.bare import bare
from shared.vision.tests.factories import colour_image, make_bundle


def test_processes_answer_when_told_and_end_with_the_block(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b")
    images = [colour_image("red", n) for n in range(3)]
    with bare(bundle.folder, images, "torchscript, frozen", "cpu", 2) as limit:
        one, two = multiprocessing.active_children()
        assert limit.rate(0.2) > 10
        assert limit.rate(0.2) > 10  # as often as wanted
        assert one.is_alive()
        assert two.is_alive()
    assert multiprocessing.active_children() == []
