"""The model registry: SageMaker's, and a file with the same fields for this machine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from shared.component.files import write_json
from shared.pipeline.errors import ExecutionError
from shared.pipeline.execution import local_arn, timestamp

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient

Json = dict[str, Any]
STATUSES = ("PendingManualApproval", "Approved", "Rejected")


@dataclass(frozen=True)
class ModelPackage:
    """One version in a model package group."""

    arn: str
    group: str
    version: int
    status: str
    model_data_url: str
    created: str
    comment: str = ""

    @classmethod
    def from_description(cls, body: Json) -> ModelPackage:
        """Read the answer of DescribeModelPackage."""
        containers = body.get("InferenceSpecification", {}).get("Containers", [{}])
        return cls(
            arn=body["ModelPackageArn"],
            group=body.get("ModelPackageGroupName", ""),
            version=int(body.get("ModelPackageVersion", 0)),
            status=body.get("ModelApprovalStatus", ""),
            model_data_url=containers[0].get("ModelDataUrl", ""),
            created=str(body.get("CreationTime", "")),
            comment=body.get("ApprovalDescription", ""),
        )


class ModelRegistry(Protocol):
    """What the pipeline and its users ask of a registry."""

    def create(self, request: Json) -> str:
        """Add a version and return its ARN; the group is made when it is new."""
        ...

    def list(self, group: str) -> list[ModelPackage]:
        """Return the group's packages, the newest first."""
        ...

    def describe(self, arn: str) -> ModelPackage: ...

    def set_status(self, arn: str, status: str, comment: str = "") -> None: ...


def latest_approved(registry: ModelRegistry, group: str) -> ModelPackage | None:
    """Return the champion: the newest approved package of a group."""
    return next((p for p in registry.list(group) if p.status == "Approved"), None)


@dataclass(frozen=True)
class FileRegistry:
    """A registry in one JSON file; writers take turns by a lock beside it."""

    path: Path
    region: str

    def create(self, request: Json) -> str:
        group = request["ModelPackageGroupName"]
        with self._lock():
            packages = self._read()
            versions = [
                p["ModelPackageVersion"] for p in packages if p["ModelPackageGroupName"] == group
            ]
            version = max(versions, default=0) + 1
            arn = local_arn("model-package", f"{group.lower()}/{version}", self.region)
            description = {
                **request,
                "ModelPackageArn": arn,
                "ModelPackageVersion": version,
                "ModelPackageStatus": "Completed",
                "CreationTime": timestamp(),
            }
            write_json(self.path, [*packages, description])
        return arn

    def list(self, group: str) -> list[ModelPackage]:
        found = (p for p in self._read() if p["ModelPackageGroupName"] == group)
        return _newest_first(map(ModelPackage.from_description, found))

    def oldest_first(self) -> Sequence[ModelPackage]:
        """Return the packages of all groups as they were made: the file keeps that order."""
        return [ModelPackage.from_description(package) for package in self._read()]

    def describe(self, arn: str) -> ModelPackage:
        return ModelPackage.from_description(self._find(self._read(), arn))

    def set_status(self, arn: str, status: str, comment: str = "") -> None:
        with self._lock():
            packages = self._read()
            package = self._find(packages, arn)
            package |= {
                "ModelApprovalStatus": status,
                "ApprovalDescription": comment,
                "LastModifiedTime": timestamp(),
            }
            write_json(self.path, packages)

    def _find(self, packages: Iterable[Json], arn: str) -> Json:
        for package in packages:
            if package["ModelPackageArn"] == arn:
                return package
        raise ExecutionError(f"registry: no model package {arn} in {self.path}; see --list")

    def _read(self) -> Any:
        try:
            return json.loads(self.path.read_text())
        except FileNotFoundError:
            return []
        except ValueError as err:
            raise ExecutionError(
                f"registry: {self.path} is no JSON: {err}; restore it or move it away"
            ) from err

    def _lock(self) -> Any:
        from filelock import FileLock  # only a writer needs it

        self.path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(f"{self.path}.lock")


@dataclass(frozen=True)
class SageMakerRegistry:
    """SageMaker's Model Registry through a boto3 client."""

    client: SageMakerClient

    def create(self, request: Json) -> str:
        group = request["ModelPackageGroupName"]
        try:
            self.client.create_model_package_group(ModelPackageGroupName=group)
        except self.client.exceptions.ClientError as err:
            if "already exist" not in str(err).lower():
                raise
        return self.client.create_model_package(**request)["ModelPackageArn"]

    def list(self, group: str) -> list[ModelPackage]:
        pages = self.client.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=group, ModelPackageType="Versioned"
        )
        try:
            arns = [s["ModelPackageArn"] for page in pages for s in page["ModelPackageSummaryList"]]
        except self.client.exceptions.ClientError as err:
            if is_missing(err):
                return []  # the first run: nothing was ever registered
            raise
        return _newest_first(map(self.describe, arns))

    def describe(self, arn: str) -> ModelPackage:
        body = self.client.describe_model_package(ModelPackageName=arn)
        return ModelPackage.from_description(dict(body))

    def set_status(self, arn: str, status: str, comment: str = "") -> None:
        self.client.update_model_package(
            ModelPackageArn=arn,
            ModelApprovalStatus=status,  # type: ignore[arg-type]  # one of STATUSES
            ApprovalDescription=comment,
        )


def is_missing(err: Exception) -> bool:
    """Tell whether AWS said that something is not there; it has several ways to say so."""
    return any(words in str(err) for words in ("ResourceNotFound", "not exist", "not find"))


def _newest_first(packages: Iterable[ModelPackage]) -> list[ModelPackage]:
    return sorted(packages, key=lambda package: package.version, reverse=True)
