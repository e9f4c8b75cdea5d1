"""python -m ci scan [COMPONENT ...]: refuse images that ECR's scan finds vulnerable.

Asks about the digests that `python -m ci push` remembered. CRITICAL and HIGH are refused
unless ci/audit.yaml allows them, with a reason and a date. Exit status: 0 nothing, 1
vulnerable or an entry has expired, 3 no scan: nothing is known.
"""

from __future__ import annotations

import argparse
import datetime
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ci.audit import ALLOWED, Allowed, Finding, read_allowed
from ci.aws import aws_errors
from ci.errors import ScanError, ServiceError
from ci.problems import REPOSITORY
from shared.pipeline.images import read_pushed
from shared.pipeline.settings import Settings

Json = dict[str, Any]
REFUSED = ("CRITICAL", "HIGH")
_IMAGE = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com/"
    r"(?P<repository>[^@]+)@(?P<digest>sha256:[0-9a-f]+)"
)
_POLL_S = 10.0
# The largest image takes ECR a few minutes.
_PATIENCE_S = 1200.0
_UNDER_WAY = ("IN_PROGRESS", "PENDING")
_DONE = ("COMPLETE", "ACTIVE")  # of the basic scan, and of the enhanced one


@dataclass(frozen=True)
class Scanner:
    """Asks ECR; `connect` makes a boto3 client for a region.

    pause, clock: seconds; a test gives its own.
    """

    connect: Callable[[str], Any]
    pause: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def findings(self, uri: str) -> list[Finding]:
        """Return what is CRITICAL or HIGH in an image, once its scan is done.

        Raises:
            ScanError: the image is not one in ECR, by digest.
            ServiceError: there is no scan: nothing is known.
        """
        match = _IMAGE.fullmatch(uri)
        if not match:
            raise ScanError(f"scan: {uri} is no image in ECR by digest; run python -m ci push")
        client = self.connect(match["region"])
        request = {
            "registryId": match["account"],
            "repositoryName": match["repository"],
            "imageId": {"imageDigest": match["digest"]},
        }
        self._wait(client, request, uri)
        pages = client.get_paginator("describe_image_scan_findings").paginate(**request)
        return [finding for page in pages for finding in _refused(page["imageScanFindings"])]

    def _wait(self, client: Any, request: Json, uri: str) -> None:
        end, is_asked = self.clock() + _PATIENCE_S, False
        while True:
            status, reason = self._status(client, request)
            if status in _DONE:
                return
            if status == "NONE" and not is_asked:
                self._start(client, request)
                is_asked = True
            elif status not in (*_UNDER_WAY, "NONE"):
                raise ServiceError(
                    f"scan: {uri}: {status}: {reason or 'no reason'}; nothing is known about it; "
                    "see the registry's scan settings"
                )
            if self.clock() > end:
                raise ServiceError(
                    f"scan: {uri} is still {status} after {_PATIENCE_S:g} s; nothing is known "
                    "about it; try again"
                )
            self.pause(_POLL_S)

    def _status(self, client: Any, request: Json) -> tuple[str, str]:
        """Return status and reason; NONE where no scan was ever begun."""
        try:
            answer = client.describe_image_scan_findings(**request)
        except client.exceptions.ScanNotFoundException:
            return "NONE", ""
        status: Json = answer["imageScanStatus"]
        return str(status["status"]), str(status.get("description", ""))

    def _start(self, client: Any, request: Json) -> None:
        try:
            client.start_image_scan(**request)
        except client.exceptions.LimitExceededException:
            return  # one a day and image: there was one today, whose result will come


def main(argv: Sequence[str] | None = None, root: Path = REPOSITORY) -> int:
    """Print what is refused; return 1 where anything is."""
    parser = argparse.ArgumentParser(
        prog="python -m ci scan",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("components", nargs="*", metavar="COMPONENT", help="default: all pushed")
    arguments = parser.parse_args(argv)
    pushed = {name: entry.uri for name, entry in read_pushed(Settings.from_environ().home).items()}
    images = chosen(pushed, arguments.components)
    import boto3

    def connect(region: str) -> Any:
        return boto3.Session(region_name=region).client("ecr")

    with aws_errors("scan", ServiceError):
        today = datetime.datetime.now(tz=datetime.UTC).date()
        problems = list(judge(images, Scanner(connect), read_allowed(root / ALLOWED), today))
    sys.stdout.writelines(f"{problem}\n" for problem in problems)
    sys.stderr.write(f"scan: {len(images)} images, {len(problems)} problems\n")
    return 1 if problems else 0


def chosen(pushed: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """Return the images to ask about.

    Raises:
        ScanError: one was not pushed, or none was.
    """
    missing = [name for name in names if name not in pushed]
    if missing or not pushed:
        what = ", ".join(missing) or "no image"
        raise ScanError(f"scan: {what} was pushed from here; run python -m ci push")
    return {name: pushed[name] for name in names or sorted(pushed)}


def judge(
    images: Mapping[str, str],
    scanner: Scanner,
    allowed: Sequence[Allowed],
    today: datetime.date,
) -> Iterator[str]:
    """Yield a line for every finding that nothing allows, or allowed until a day that is past."""
    for component, uri in images.items():
        for finding in scanner.findings(uri):
            entry = next((entry for entry in allowed if entry.covers(finding)), None)
            if entry is None:
                remedy = f"build on a newer base, or allow it in {ALLOWED}"
                yield f"{component}: {finding}; {remedy}"
            elif entry.until < today:
                yield f"{component}: {finding}; was allowed until {entry.until} in {ALLOWED}"


def _refused(found: Json) -> Iterator[Finding]:
    """Yield what is grave, of either kind of scan."""
    for basic in found.get("findings") or ():
        if basic["severity"] in REFUSED:
            said = {each["key"]: each.get("value", "") for each in basic.get("attributes", ())}
            package, version = said.get("package_name", ""), said.get("package_version", "")
            yield Finding(package, version, (basic["name"],), ())
    for enhanced in found.get("enhancedFindings") or ():
        if enhanced["severity"] in REFUSED:
            yield from _enhanced(enhanced)


def _enhanced(finding: Json) -> Iterator[Finding]:
    details = finding.get("packageVulnerabilityDetails", {})
    names = (details.get("vulnerabilityId") or finding.get("title", "unnamed"),)
    names += tuple(details.get("relatedVulnerabilities") or ())
    packages: Sequence[Json] = details.get("vulnerablePackages") or [{}]
    for package in packages:
        fixed = package.get("fixedInVersion", "")
        is_fixed = fixed not in ("", "NotAvailable")
        version = package.get("version", "")
        yield Finding(package.get("name", ""), version, names, (fixed,) if is_fixed else ())
