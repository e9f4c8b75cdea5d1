"""A local registry with packages, as pipeline runs leave one."""

from __future__ import annotations

from pathlib import Path

from shared.pipeline.registry import FileRegistry


def register(home: Path, group: str, archive: str = "", status: str = "Approved") -> str:
    """Add a version to a group and return its ARN."""
    return FileRegistry(home / "registry.json", "us-east-1").create(
        {
            "ModelPackageGroupName": group,
            "ModelApprovalStatus": status,
            "InferenceSpecification": {"Containers": [{"ModelDataUrl": f"s3://bucket/{archive}"}]},
        }
    )
