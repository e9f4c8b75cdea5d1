"""The file registry."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from shared.pipeline.errors import ExecutionError
from shared.pipeline.registry import FileRegistry, latest_approved


@pytest.fixture
def registry(tmp_path: Path) -> FileRegistry:
    return FileRegistry(tmp_path / "registry.json", "us-east-1")


def request(group: str = "scenes", url: str = "s3://bucket/model.tar.gz") -> dict[str, object]:
    containers = [{"Image": "image", "ModelDataUrl": url}]
    return {
        "ModelPackageGroupName": group,
        "ModelApprovalStatus": "PendingManualApproval",
        "InferenceSpecification": {"Containers": containers},
    }


def test_counts_versions_per_group(registry: FileRegistry) -> None:
    arns = [registry.create(request(group)) for group in ("scenes", "birds", "scenes")]
    assert [arn.partition("model-package/")[2] for arn in arns] == [
        "scenes/1",
        "birds/1",
        "scenes/2",
    ]
    assert [package.version for package in registry.list("scenes")] == [2, 1]


def test_keeps_every_field_of_the_request(registry: FileRegistry) -> None:
    registry.create(request() | {"CustomerMetadataProperties": {"report": "s3://b/index.html"}})
    [stored] = json.loads(registry.path.read_text())
    assert stored["CustomerMetadataProperties"] == {"report": "s3://b/index.html"}
    assert stored["ModelPackageStatus"] == "Completed"
    assert ":000000000000:" in stored["ModelPackageArn"]


def test_the_champion_is_the_newest_approved(registry: FileRegistry) -> None:
    arns = [registry.create(request(url=f"s3://bucket/{i}")) for i in range(3)]
    assert latest_approved(registry, "scenes") is None
    registry.set_status(arns[0], "Approved")
    registry.set_status(arns[1], "Approved", "better")
    registry.set_status(arns[2], "Rejected")
    champion = latest_approved(registry, "scenes")
    assert champion is not None
    assert (champion.model_data_url, champion.comment) == ("s3://bucket/1", "better")


def test_writers_take_turns(registry: FileRegistry) -> None:
    threads = [threading.Thread(target=registry.create, args=(request(),)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(p.version for p in registry.list("scenes")) == list(range(1, 13))


def test_an_unknown_package_is_named(registry: FileRegistry) -> None:
    with pytest.raises(ExecutionError, match=r"no model package arn:x .* see --list"):
        registry.set_status("arn:x", "Approved")


def test_a_broken_file_is_no_empty_registry(registry: FileRegistry) -> None:
    registry.path.write_text("{")
    with pytest.raises(ExecutionError, match=r"registry\.json is no JSON"):
        registry.create(request())
