"""Fake: the frozen test set is the first test set ever seen."""

import json
from pathlib import Path

from shared.component import storage


def run(*, raw: Path, annotations: Path, frozen_test, dataset, frozen, report, **options) -> None:
    test = json.loads((raw / "raw.json").read_text())["test"]
    if frozen_test and not storage.is_empty(frozen_test):
        test = (storage.download(frozen_test, frozen.parent) / "test.txt").read_text()
    (frozen / "test.txt").write_text(test)
    content = {"raw": (raw / "raw.json").read_text(), "test": test, "size": options["image_size"]}
    (dataset / "dataset.json").write_text(json.dumps(content, sort_keys=True))
    (report / "report.html").write_text("<h1>data</h1>")
