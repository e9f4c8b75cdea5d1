"""The gate between push and pipeline: what ECR's scan finds, and what it cannot say."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from ci import scan
from ci.audit import Allowed
from ci.errors import ScanError, ServiceError
from shared.pipeline.images import Pushed, write_pushed

DIGEST = f"sha256:{'a' * 64}"
HOST = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
URI = f"{HOST}/visionloop-dev/visionloop/train@{DIGEST}"
TODAY = datetime.date(2026, 1, 15)
ALLOWED = Allowed("CVE-1", "openssl", "not reached", datetime.date(2026, 1, 15))


def _basic(severity: str, name: str = "CVE-1") -> dict[str, Any]:
    attributes = [
        {"key": "package_name", "value": "openssl"},
        {"key": "package_version", "value": "3.0"},
    ]
    return {"name": name, "severity": severity, "attributes": attributes}


def _page(status: str, *findings: dict[str, Any], kind: str = "findings") -> dict[str, Any]:
    return {
        "imageScanStatus": {"status": status, "description": "said so"},
        "imageScanFindings": {kind: list(findings)},
    }


class FakeEcr:
    """Answers one page after the other, and the last one for ever; None: no scan yet."""

    class exceptions:  # noqa: N801 - boto3's name
        class ScanNotFoundException(Exception):  # noqa: N818 - boto3's name
            pass

        class LimitExceededException(Exception):  # noqa: N818
            pass

    def __init__(self, *pages: dict[str, Any] | None, limit: bool = False) -> None:
        self.pages, self.limit = list(pages), limit
        self.started = 0
        self.requests: list[dict[str, Any]] = []

    def describe_image_scan_findings(self, **request: Any) -> dict[str, Any]:
        self.requests.append(request)
        page = self.pages.pop(0) if len(self.pages) > 1 else self.pages[0]
        if page is None:
            raise self.exceptions.ScanNotFoundException
        return page

    def start_image_scan(self, **_: Any) -> None:
        self.started += 1
        if self.limit:
            raise self.exceptions.LimitExceededException

    def get_paginator(self, _: str) -> FakeEcr:
        return self

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        yield self.describe_image_scan_findings(**request)


def _judge(ecr: FakeEcr, *allowed: Allowed, uri: str = URI) -> list[str]:
    now = [0.0]

    def pause(seconds: float) -> None:
        now[0] += seconds

    scanner = scan.Scanner(lambda _: ecr, pause, lambda: now[0])
    return list(scan.judge({"train": uri}, scanner, allowed, TODAY))


@pytest.mark.parametrize(
    ("severity", "count"),
    [("CRITICAL", 1), ("HIGH", 1), ("MEDIUM", 0), ("LOW", 0), ("UNDEFINED", 0)],
)
def test_critical_and_high_are_refused(severity: str, count: int) -> None:
    problems = _judge(FakeEcr(_page("COMPLETE", _basic(severity))))
    assert len(problems) == count
    for problem in problems:
        assert problem.startswith("train: openssl 3.0: CVE-1; no version fixes it; build on")


def test_what_the_list_allows_passes_until_its_day() -> None:
    ecr = FakeEcr(_page("COMPLETE", _basic("HIGH")))
    assert _judge(ecr, ALLOWED) == []
    past = Allowed("CVE-1", "openssl", "not reached", datetime.date(2026, 1, 14))
    assert "was allowed until 2026-01-14" in _judge(ecr, past)[0]
    other = Allowed("CVE-1", "zlib", "another package", datetime.date(2027, 1, 1))
    assert len(_judge(ecr, other)) == 1


def test_the_enhanced_scan_is_read_too() -> None:
    finding = {
        "severity": "CRITICAL",
        "packageVulnerabilityDetails": {
            "vulnerabilityId": "CVE-2",
            "relatedVulnerabilities": ["GHSA-x"],
            "vulnerablePackages": [
                {"name": "torch", "version": "1.0", "fixedInVersion": "1.1"},
                {"name": "libfoo", "version": "2", "fixedInVersion": "NotAvailable"},
            ],
        },
    }
    problems = _judge(FakeEcr(_page("ACTIVE", finding, kind="enhancedFindings")))
    assert problems[0].startswith("train: torch 1.0: CVE-2, GHSA-x; fixed in 1.1;")
    assert "libfoo 2: CVE-2, GHSA-x; no version fixes it" in problems[1]


def test_a_scan_that_is_under_way_is_waited_for() -> None:
    ecr = FakeEcr(_page("PENDING"), _page("IN_PROGRESS"), _page("COMPLETE", _basic("HIGH")))
    assert len(_judge(ecr)) == 1
    assert ecr.started == 0
    assert ecr.requests[0] == {
        "registryId": "123456789012",
        "repositoryName": "visionloop-dev/visionloop/train",
        "imageId": {"imageDigest": DIGEST},
    }


@pytest.mark.parametrize("limit", [False, True])
def test_a_scan_that_nobody_began_is_begun_once(limit: bool) -> None:
    ecr = FakeEcr(None, None, _page("COMPLETE"), limit=limit)
    assert _judge(ecr) == []
    assert ecr.started == 1


@pytest.mark.parametrize("status", ["FAILED", "UNSUPPORTED_IMAGE", "FINDINGS_UNAVAILABLE"])
def test_no_scan_is_no_pass(status: str) -> None:
    with pytest.raises(ServiceError, match=f"{status}: said so; nothing is known") as end:
        _judge(FakeEcr(_page(status)))
    assert end.value.exit_status == 3


@pytest.mark.parametrize("page", [None, _page("IN_PROGRESS")])
def test_a_scan_that_never_ends_is_given_up(page: dict[str, Any] | None) -> None:
    with pytest.raises(ServiceError, match="after 1200 s; nothing is known"):
        _judge(FakeEcr(page))


@pytest.mark.parametrize("uri", [f"{HOST}/visionloop/train:tag", "localhost:5000/train@sha256:a"])
def test_what_is_no_digest_in_ecr_is_refused(uri: str) -> None:
    with pytest.raises(ScanError, match="no image in ECR by digest"):
        _judge(FakeEcr(_page("COMPLETE")), uri=uri)


def test_only_what_was_pushed_can_be_asked_about() -> None:
    assert scan.chosen({"b": "2", "a": "1"}, []) == {"a": "1", "b": "2"}
    assert scan.chosen({"b": "2", "a": "1"}, ["b"]) == {"b": "2"}
    with pytest.raises(ScanError, match="c was pushed from here"):
        scan.chosen({"a": "1"}, ["c"])
    with pytest.raises(ScanError, match="no image was pushed from here"):
        scan.chosen({}, [])


def test_the_command_asks_ecr_about_what_push_remembered(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Over moto, whose scans always find the same one."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("VISIONLOOP_HOME", str(tmp_path))
    with mock_aws():
        ecr = boto3.client("ecr", region_name="us-east-1")
        ecr.create_repository(repositoryName="visionloop/train")
        image = ecr.put_image(
            repositoryName="visionloop/train",
            imageManifest='{"schemaVersion": 2, "config": {"digest": "sha256:0"}, "layers": []}',
            imageManifestMediaType="application/vnd.docker.distribution.manifest.v2+json",
        )["image"]
        digest = image["imageId"]["imageDigest"]
        ecr.start_image_scan(repositoryName="visionloop/train", imageId={"imageDigest": digest})
        uri = f"{HOST}/visionloop/train@{digest}"
        write_pushed(tmp_path, {"train": Pushed("code", uri)})
        assert scan.main([]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("train: moto_fake 9.9.9: CVE-9999-9999; no version fixes it")
    assert said.err == "scan: 1 images, 1 problems\n"
