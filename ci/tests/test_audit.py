"""The allow-list's rules, and what is said where nobody answers."""

from __future__ import annotations

import datetime
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from ci.audit import ALLOWED, Allowed, Answer, Finding, ask, judge, locked_versions, read_allowed
from ci.errors import AuditError, ServiceError
from ci.problems import REPOSITORY
from ci.tests.conftest import write

TODAY = datetime.date(2026, 6, 1)
WOOL = Finding("wool", "1.0", ("PYSEC-2026-1", "CVE-2026-1"), ("1.1",))
ENTRY = Allowed("CVE-2026-1", "wool", "not reached", datetime.date(2026, 6, 1))


def _entry(**changed: object) -> Allowed:
    return Allowed(**{**vars(ENTRY), **changed})  # type: ignore[arg-type]


def test_what_is_not_allowed_fails_and_says_what_fixes_it() -> None:
    verdict = judge([WOOL], [], TODAY)
    assert verdict.problems == (
        "wool 1.0: PYSEC-2026-1, CVE-2026-1; fixed in 1.1; update with make lock, or allow it in "
        "ci/audit.yaml",
    )


def test_an_entry_allows_by_any_of_a_vulnerabilitys_names_until_its_last_day() -> None:
    verdict = judge([WOOL], [ENTRY], TODAY)
    assert verdict.problems == ()
    assert "allowed until 2026-06-01: wool 1.0" in verdict.notes[0]
    assert "(not reached)" in verdict.notes[0]


def test_an_expired_entry_fails_whether_it_is_needed_or_not() -> None:
    for findings in ([WOOL], []):
        [problem] = judge(findings, [ENTRY], datetime.date(2026, 6, 2)).problems
        assert "CVE-2026-1 (wool) was allowed until 2026-06-01" in problem


@pytest.mark.parametrize("changed", [{"package": "flax"}, {"id": "CVE-2026-2"}])
def test_an_entry_allows_its_own_package_and_vulnerability_alone(changed: dict[str, str]) -> None:
    verdict = judge([WOOL], [_entry(**changed)], TODAY)
    assert len(verdict.problems) == 1
    assert "applies no more; remove it" in verdict.notes[0]


@pytest.mark.parametrize(
    "text",
    [
        "allowed: [{id: CVE-1, package: wool, until: 2026-06-01}]",
        "allowed: [{id: CVE-1, package: wool, reason: '', until: 2026-06-01}]",
        "allowed: [{id: CVE-1, package: wool, reason: r, until: soon}]",
        "allowed: [{id: CVE-1, package: wool, reason: r, until: 2026-06-01, forever: true}]",
        "- CVE-1",
        "allowed: [",
    ],
)
def test_an_entry_without_reason_or_date_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "audit.yaml"
    path.write_text(text)
    with pytest.raises(AuditError, match=r"audit\.yaml"):
        read_allowed(path)


def test_this_repositorys_allow_list_can_be_read() -> None:
    assert all(entry.reason for entry in read_allowed(REPOSITORY / ALLOWED))


def test_every_version_of_every_lock_is_asked_about(farm: Path) -> None:
    hashed = " \\\n    --hash=sha256:" + "0" * 64 + "\n"
    two = f"wool==1.0 ; python_version < '3.12'{hashed}wool==2.0 ; python_version >= '3.12'{hashed}"
    write(
        farm,
        {
            "components/sheep/requirements.txt": two,
            "components/goat/requirements.txt": f"Horn==3.0{hashed}wool==1.0{hashed}",
            "ci/requirements.txt": f"crook==4.0{hashed}",
        },
    )
    locked = locked_versions(farm)
    assert locked == {
        ("wool", "1.0"): {"sheep", "goat"},
        ("wool", "2.0"): {"sheep"},
        ("horn", "3.0"): {"goat"},
        ("crook", "4.0"): {"host"},
    }
    asked: list[str] = []

    def run(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        lines = Path(arguments[arguments.index("-r") + 1]).read_text().splitlines()
        assert len({line.partition("==")[0] for line in lines}) == len(lines), "one of each"
        asked.extend(lines)
        return _answer([])

    ask(locked, "pypi", run)
    assert sorted(asked) == ["crook==4.0", "horn==3.0", "wool==1.0", "wool==2.0"]


def test_an_answer_is_read() -> None:
    vulnerability = {"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1"], "fix_versions": ["1.1"]}
    packages = [
        {"name": "wool", "version": "1.0", "vulns": [vulnerability]},
        {"name": "horn", "version": "3.0", "vulns": []},
    ]
    answer = ask([("wool", "1.0")], "pypi", lambda _: _answer(packages))
    assert answer == Answer((WOOL,), ())


def test_a_package_the_service_does_not_know_is_not_taken_for_a_good_one() -> None:
    packages: list[dict[str, object]] = [
        {"name": "wool", "skip_reason": "Dependency not found on PyPI and could not be audited"},
        {"name": "horn", "version": "3.0", "vulns": []},
    ]
    answer = ask([("wool", "1.0")], "pypi", lambda _: _answer(packages))
    assert answer == Answer((), ("wool",))


def test_no_answer_is_neither_good_nor_bad() -> None:
    silent = subprocess.CompletedProcess([], 1, "", "WARNING\nConnectionError: index.invalid\n")
    with pytest.raises(
        ServiceError, match=r"pypi: ConnectionError: index\.invalid; no answer"
    ) as none:
        ask([("wool", "1.0")], "pypi", lambda _: silent)
    assert none.value.exit_status == 3


def _answer(packages: list[dict[str, object]]) -> subprocess.CompletedProcess[str]:
    document = json.dumps({"dependencies": packages, "fixes": []})
    return subprocess.CompletedProcess([], 0, document, "")
