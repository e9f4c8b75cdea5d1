"""python -m ci audit: hold every locked package against the known vulnerabilities.

pip-audit asks PyPI (or OSV) about all versions that the locks pin. What is accepted for a
while stands in ci/audit.yaml with a reason and a date; after that date it fails again.
Exit status: 0 nothing known, 1 vulnerable or an entry has expired, 3 no answer: nothing is
known either way.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ci.errors import AuditError, ServiceError
from ci.locks import pins
from ci.problems import REPOSITORY, component_folders

ALLOWED = Path("ci/audit.yaml")
_SHOWN = 5  # packages in a message
_KEYS = {"id", "package", "reason", "until"}
_UNKNOWN = "no answer: nothing is known about the packages; try again where it can be reached"

Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True)
class Finding:
    """One known vulnerability of one locked version.

    names: its identifiers: PYSEC, CVE, GHSA.
    """

    package: str
    version: str
    names: tuple[str, ...]
    fixed_in: tuple[str, ...]

    def __str__(self) -> str:
        remedy = f"fixed in {', '.join(self.fixed_in)}" if self.fixed_in else "no version fixes it"
        return f"{self.package} {self.version}: {', '.join(self.names)}; {remedy}"


@dataclass(frozen=True)
class Allowed:
    """An accepted vulnerability; `until` is the last day it is accepted."""

    id: str
    package: str
    reason: str
    until: datetime.date

    def covers(self, finding: Finding) -> bool:
        return self.package == finding.package and self.id in finding.names


@dataclass(frozen=True)
class Answer:
    """What a service said; `unknown` are the packages it said nothing about."""

    findings: tuple[Finding, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """What is wrong (`problems`), and what is not but is worth a line (`notes`)."""

    problems: tuple[str, ...]
    notes: tuple[str, ...]


def main(argv: Sequence[str], root: Path = REPOSITORY) -> int:
    """Print what is known; return 1 where anything is neither fixed nor allowed."""
    parser = argparse.ArgumentParser(
        prog="python -m ci audit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--service", choices=["pypi", "osv"], default="pypi", help="who is asked")
    arguments = parser.parse_args(argv)
    allowed = read_allowed(root / ALLOWED)
    locked = locked_versions(root)
    answer = ask(locked, arguments.service)
    verdict = judge(answer.findings, allowed, datetime.datetime.now(tz=datetime.UTC).date())
    users: dict[str, set[str]] = {}
    for (package, _), names in locked.items():
        users.setdefault(package, set()).update(names)
    for package in sorted({finding.package for finding in answer.findings}):
        sys.stderr.write(f"{package} is in: {', '.join(sorted(users[package]))}\n")
    sys.stdout.writelines(f"{line}\n" for line in (*verdict.problems, *verdict.notes))
    sys.stderr.write(f"audit: {len(locked)} packages, {len(verdict.problems)} problems\n")
    if verdict.problems:
        return 1
    if answer.unknown:
        more = ", ..." if len(answer.unknown) > _SHOWN else ""
        shown = ", ".join(answer.unknown[:_SHOWN]) + more
        raise ServiceError(
            f"audit: {arguments.service} says nothing about {len(answer.unknown)} of "
            f"{len(locked)} packages ({shown}); {_UNKNOWN}"
        )
    return 0


def judge(findings: Iterable[Finding], allowed: Sequence[Allowed], today: datetime.date) -> Verdict:
    """Decide what fails: what is not allowed, and what was allowed until a day that is past."""
    problems, notes, used = [], [], set()
    for finding in findings:
        entry = next((entry for entry in allowed if entry.covers(finding)), None)
        if entry is None:
            problems.append(f"{finding}; update with make lock, or allow it in {ALLOWED}")
        else:
            used.add(entry)
            notes.append(f"allowed until {entry.until}: {finding} ({entry.reason})")
    for entry in allowed:
        if entry.until < today:
            problems.append(
                f"{ALLOWED}: {entry.id} ({entry.package}) was allowed until {entry.until}; lock a "
                "version without it, or look at it anew and set another date"
            )
        elif entry not in used:
            notes.append(f"{ALLOWED}: {entry.id} ({entry.package}) applies no more; remove it")
    return Verdict(tuple(problems), tuple(notes))


def read_allowed(path: Path) -> list[Allowed]:
    """Read the allow-list.

    Raises:
        AuditError: an entry lacks something.
    """
    try:
        entries = (yaml.safe_load(path.read_text()) or {}).get("allowed") or []
        return [_allowed(entry, path) for entry in entries]
    except (yaml.YAMLError, AttributeError, FileNotFoundError) as err:
        raise AuditError(f"audit: {path} is no allow-list: {err}; write `allowed: []`") from err


def locked_versions(root: Path) -> dict[tuple[str, str], set[str]]:
    """Return who locks each package and version: components, and `host` for ci's own."""
    locks = {folder.name: folder / "requirements.txt" for folder in component_folders(root)}
    locks |= {"host": root / "ci/requirements.txt", "cuda": root / "containers/torch/cuda.txt"}
    users: dict[tuple[str, str], set[str]] = {}
    for name, lock in locks.items():
        for package, versions in pins(lock).items() if lock.is_file() else ():
            for version in versions:
                users.setdefault((package, version), set()).add(name)
    return users


def ask(locked: Iterable[tuple[str, str]], service: str, run: Run | None = None) -> Answer:
    """Ask a service about all packages at once.

    run: starts pip-audit with arguments; a test gives its own.
    Raises:
        ServiceError: it gave no answer.
    """
    findings, unknown = [], []
    for batch in _batches(locked):
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as stream:
            stream.writelines(f"{package}=={version}\n" for package, version in batch)
            stream.flush()
            done = (run or _pip_audit)(["-r", stream.name, "-s", service])
        try:
            document = json.loads(done.stdout)
        except ValueError as err:
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise ServiceError(f"audit: {service}: {last[:300]}; {_UNKNOWN}") from err
        for package in document["dependencies"]:
            findings += [_finding(package, each) for each in package.get("vulns", ())]
            # pip-audit calls this a success: a proxy of PyPI without its JSON would pass all.
            if "vulns" not in package:
                unknown.append(str(package["name"]))
    return Answer(tuple(findings), tuple(unknown))


def _batches(locked: Iterable[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """Part the versions of a package: pip-audit takes one of each at a time."""
    batches: list[dict[str, str]] = []
    for package, version in sorted(locked):
        free = next((batch for batch in batches if package not in batch), None)
        if free is None:
            batches.append(free := {})
        free[package] = version
    return [list(batch.items()) for batch in batches]


def _pip_audit(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    # The locks are complete: nothing is resolved, nothing installed.
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--no-deps", "-f", "json"]
    command += ["--progress-spinner", "off", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _finding(package: dict[str, Any], vulnerability: dict[str, Any]) -> Finding:
    names = [vulnerability["id"], *vulnerability.get("aliases", ())]
    fixed = tuple(vulnerability.get("fix_versions", ()))
    return Finding(package["name"], package["version"], tuple(dict.fromkeys(names)), fixed)


def _allowed(entry: dict[str, Any], path: Path) -> Allowed:
    if set(entry) != _KEYS or not isinstance(entry["until"], datetime.date) or not entry["reason"]:
        raise AuditError(
            f"audit: {path}: {entry} needs id, package, reason, and until (as 2026-12-31)"
        )
    return Allowed(**entry)
