"""The model registry, as far as a deployment reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from components.deploy.clients import is_missing

APPROVED, REJECTED = "Approved", "Rejected"


@dataclass(frozen=True)
class Package:
    """One version of a model package group.

    changed: epoch seconds of its last change.
    """

    arn: str
    group: str
    version: int
    status: str
    model_data: str
    changed: int


def read_package(client: Any, arn: str) -> Package | None:
    """Return what the registry says of a package; None: it is gone."""
    try:
        said = client.describe_model_package(ModelPackageName=arn)
    except ClientError as err:
        if is_missing(err):
            return None
        raise
    containers = said.get("InferenceSpecification", {}).get("Containers", [{}])
    changed = said.get("LastModifiedTime") or said["CreationTime"]
    return Package(
        said["ModelPackageArn"],
        said.get("ModelPackageGroupName", ""),
        int(said.get("ModelPackageVersion", 0)),
        said.get("ModelApprovalStatus", ""),
        containers[0].get("ModelDataUrl", ""),
        int(changed.timestamp()),
    )


def approved_versions(client: Any, group: str) -> dict[int, str]:
    """Return the ARN of each approved version of a group."""
    pages = client.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName=group, ModelApprovalStatus=APPROVED
    )
    return {
        int(summary["ModelPackageVersion"]): summary["ModelPackageArn"]
        for page in pages
        for summary in page["ModelPackageSummaryList"]
    }
