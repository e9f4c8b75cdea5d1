"""Model packages: what the registry holds, and an operator's decision on one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.web.errors import Conflict, NotFound, WebError
from components.web.operator.asking import PAGES, asking
from components.web.operator.package_records import (
    Approval,
    Decision,
    Figures,
    Package,
    PackagePage,
    PackageSummary,
)
from components.web.operator.package_report import PAGE, REPORT, STATISTICS, read_figures
from components.web.operator.reports import ReportPage, open_report
from shared.component.object_store import open_store

_WHERE = "model registry"
_LONGEST_COMMENT = 1024  # of ApprovalDescription


class Packages:
    """The versions of one model package group."""

    def __init__(self, sagemaker: Any, s3: Any, group: str) -> None:
        self._client = sagemaker
        self._s3 = s3
        self.group = group
        self._known: dict[str, Figures] = {}  # by ARN: a package's report never changes

    def list(self, limit: int = 20, before: int | None = None) -> PackagePage:
        """Return versions below `before`, the newest first; without a group there are none.

        Raises:
            WebError: the registry does not answer.
        """
        found = [s for s in self._summaries() if before is None or _version(s) < before]
        shown = found[:limit]
        more = len(found) > limit
        return PackagePage(
            group=self.group,
            packages=[self._summary(summary) for summary in shown],
            before=_version(shown[-1]) if more and shown else None,
        )

    def get(self, version: int) -> Package:
        """Return one version.

        Raises:
            WebError: there is none, or the registry does not answer.
        """
        said = self._describe(self._arn(version))
        folder = _folder(said)
        note, has_report, figures = "", False, Figures()
        try:
            figures = self._figures(said)
            has_report = bool(folder) and self._has_page(folder)
        except WebError as err:
            note = str(err)
        if not note and not figures.metrics:
            note = "Its report is not there: nothing says how good this model is."
        container = _container(said)
        return Package(
            version=version,
            status=said.get("ModelApprovalStatus", "PendingManualApproval"),
            created=said.get("CreationTime"),
            accuracy=figures.metrics.get("accuracy"),
            macro_f1=figures.metrics.get("macro_f1"),
            test_fingerprint=figures.test_fingerprint,
            arn=said["ModelPackageArn"],
            comment=said.get("ApprovalDescription", ""),
            decided=said.get("LastModifiedTime"),
            model_data=container.get("ModelDataUrl", ""),
            image=container.get("Image", ""),
            run=said.get("CustomerMetadataProperties", {}).get("execution", ""),
            has_report=has_report,
            figures=figures,
            note=note,
        )

    def decide(
        self, version: int, decision: Decision, comment: str, seen: Approval | None = None
    ) -> Approval:
        """Approve or reject a version; return what it was before.

        seen: its status when the operator looked; None: whatever it is.

        Raises:
            WebError: there is none, somebody was faster, or the registry refuses.
        """
        arn = self._arn(version)
        before: Approval = self._describe(arn).get("ModelApprovalStatus", "PendingManualApproval")
        if seen is not None and seen != before:
            raise Conflict(
                f"models: version {version} is {before} by now, no longer {seen}; look again"
            )
        with asking(_WHERE, f"version {version} is not there any more"):
            self._client.update_model_package(
                ModelPackageArn=arn,
                ModelApprovalStatus=decision,
                # Of one line: SageMaker takes no other.
                ApprovalDescription=" ".join(comment.split())[:_LONGEST_COMMENT],
            )
        return before

    def approved(self) -> list[int]:
        """Return the approved versions, the newest first."""
        return [_version(s) for s in self._summaries("Approved")]

    def champion(self) -> str:
        """Return where the newest approved model lies, "" while there is none."""
        newest = next(iter(self._summaries("Approved")), None)
        if newest is None:
            return ""
        return str(_container(self._describe(newest["ModelPackageArn"])).get("ModelDataUrl", ""))

    def report(self, version: int) -> ReportPage:
        """Return the package's own page.

        Raises:
            WebError: there is none, or it cannot be read.
        """
        folder = _folder(self._describe(self._arn(version)))
        if not folder:
            raise NotFound(f"models: version {version} names no report")
        return open_report(folder, PAGE, self._s3)

    def _summaries(self, status: Approval | None = None) -> list[Mapping[str, Any]]:
        """Return the registry's list, the newest version first."""
        asked = {"ModelApprovalStatus": status} if status else {}
        try:
            with asking(_WHERE, "no group"):
                pages = self._client.get_paginator("list_model_packages").paginate(
                    ModelPackageGroupName=self.group,
                    ModelPackageType="Versioned",
                    PaginationConfig=PAGES,
                    **asked,
                )
                found = [s for page in pages for s in page["ModelPackageSummaryList"]]
        except NotFound:  # the first run makes the group
            return []
        return sorted(found, key=_version, reverse=True)

    def _arn(self, version: int) -> str:
        for summary in self._summaries():
            if _version(summary) == version:
                return str(summary["ModelPackageArn"])
        raise NotFound(f"models: {self.group} has no version {version}")

    def _describe(self, arn: str) -> Mapping[str, Any]:
        version = arn.rpartition("/")[2]
        with asking(_WHERE, f"models: {self.group} has no version {version}"):
            said: Mapping[str, Any] = self._client.describe_model_package(ModelPackageName=arn)
        return said

    def _summary(self, summary: Mapping[str, Any]) -> PackageSummary:
        try:
            figures = self._known.get(summary["ModelPackageArn"]) or self._figures(
                self._describe(summary["ModelPackageArn"])
            )
        except WebError:  # the version is there, whatever became of its report
            figures = Figures()
        return PackageSummary(
            version=_version(summary),
            status=summary.get("ModelApprovalStatus", "PendingManualApproval"),
            created=summary.get("CreationTime"),
            accuracy=figures.metrics.get("accuracy"),
            macro_f1=figures.metrics.get("macro_f1"),
            test_fingerprint=figures.test_fingerprint,
        )

    def _figures(self, said: Mapping[str, Any]) -> Figures:
        arn, folder = str(said["ModelPackageArn"]), _folder(said)
        if arn not in self._known and folder:
            with asking("the package's report"):
                store = open_store(folder, self._s3)
                figures = read_figures(store.get(REPORT), store.get(STATISTICS))
            if figures.metrics:
                self._known[arn] = figures
            return figures
        return self._known.get(arn, Figures())

    def _has_page(self, folder: str) -> bool:
        with asking("the package's report"):
            return any(e.key == PAGE for e in open_store(folder, self._s3).list(PAGE))


def rolls_back_to(approved: list[int], serving: int | None) -> int | None:
    """Return the version that serves when the one that does is rejected; None: none would."""
    return max((version for version in approved if version != serving), default=None)


def _version(summary: Mapping[str, Any]) -> int:
    return int(summary["ModelPackageVersion"])


def _container(said: Mapping[str, Any]) -> Mapping[str, Any]:
    containers = said.get("InferenceSpecification", {}).get("Containers", [])
    return containers[0] if containers else {}


def _folder(said: Mapping[str, Any]) -> str:
    """Return where the package's report lies, "" where it names none."""
    page = said.get("CustomerMetadataProperties", {}).get("report", "")
    if not page:
        quality = said.get("ModelMetrics", {}).get("ModelQuality", {})
        page = quality.get("Statistics", {}).get("S3Uri", "")
    return str(page).rpartition("/")[0]
