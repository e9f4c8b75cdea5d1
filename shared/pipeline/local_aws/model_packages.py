"""SageMaker's model packages, from registry.json."""

from __future__ import annotations

import json
from dataclasses import dataclass

from shared.pipeline.errors import ExecutionError
from shared.pipeline.local_aws.call import (
    Call,
    Json,
    Operations,
    is_ascending,
    moment,
    paged,
    without_empty,
)
from shared.pipeline.local_aws.errors import invalid
from shared.pipeline.registry import STATUSES, FileRegistry

_TIMES = ("CreationTime", "LastModifiedTime")
# What ListModelPackages tells of each; all of them have an ARN, times and statuses.
_SUMMARY = (
    "ModelPackageGroupName",
    "ModelPackageVersion",
    "ModelPackageArn",
    "ModelPackageDescription",
    "CreationTime",
    "ModelPackageStatus",
    "ModelApprovalStatus",
)
_LONGEST_DESCRIPTION = 1024


@dataclass(frozen=True)
class ModelPackages:
    """Lists, describes and decides on model packages."""

    registry: FileRegistry

    @property
    def operations(self) -> Operations:
        return {
            "ListModelPackages": self.list_all,
            "DescribeModelPackage": self.describe,
            "UpdateModelPackage": self.update,
        }

    def list_all(self, call: Call) -> Json:
        group = call.name("ModelPackageGroupName") if "ModelPackageGroupName" in call.body else ""
        kind = call.one_of("ModelPackageType", "Unversioned", ("Versioned", "Unversioned", "Both"))
        status = call.text("ModelApprovalStatus", "")
        part = call.text("NameContains", "").lower()
        found = [
            package
            for package in self._read()
            # As on AWS: who names neither group nor type is told of packages without a group.
            if (group or kind != "Unversioned")
            and group in ("", package["ModelPackageGroupName"])
            and status in ("", package["ModelApprovalStatus"])
            and part in package["ModelPackageGroupName"].lower()
        ]
        found.sort(key=lambda package: moment(package["CreationTime"]))
        if not is_ascending(call, "Descending"):
            found.reverse()
        page, more = paged(call, found, lambda package: str(package["ModelPackageArn"]))
        summaries = [
            {name: value for name, value in _answer(package).items() if name in _SUMMARY}
            for package in page
        ]
        return {"ModelPackageSummaryList": summaries, **more}

    def describe(self, call: Call) -> Json:
        arn = call.text("ModelPackageName")
        for package in self._read():
            if package["ModelPackageArn"] == arn:
                # SageMaker answers with the ARN's last parts; the registry keeps no name.
                name = f"{package['ModelPackageGroupName']}/{package['ModelPackageVersion']}"
                return {
                    "ModelPackageName": name.partition("/")[0],
                    "ModelPackageStatusDetails": {"ValidationStatuses": []},
                    **_answer(package),
                }
        raise invalid(f"ModelPackage {arn} does not exist.")

    def update(self, call: Call) -> Json:
        arn = call.text("ModelPackageArn")
        known = {"ModelPackageArn", "ModelApprovalStatus", "ApprovalDescription", "ClientToken"}
        if others := sorted(call.body.keys() - known):
            raise invalid(f"{', '.join(others)}: a local model package's decision alone can change")
        status = call.one_of("ModelApprovalStatus", "", STATUSES)
        comment = call.text("ApprovalDescription", "")
        if len(comment) > _LONGEST_DESCRIPTION:
            raise invalid(f"ApprovalDescription has more than {_LONGEST_DESCRIPTION} characters")
        try:
            self.registry.set_status(arn, status, comment)
        except ExecutionError as err:
            raise invalid(f"ModelPackage {arn} does not exist.") from err
        return {"ModelPackageArn": arn}

    def _read(self) -> list[Json]:
        try:
            packages: list[Json] = json.loads(self.registry.path.read_text())
        except FileNotFoundError:
            return []
        return packages


def _answer(package: Json) -> Json:
    times = {name: moment(package[name]) for name in _TIMES if name in package}
    return without_empty({**package, **times})
