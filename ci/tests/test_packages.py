"""Which model package this machine serves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ci.packages import NoPackageError, newest_approved
from ci.tests.packages import register
from shared.pipeline.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "s3" / "bucket").mkdir(parents=True)
    (tmp_path / "s3" / "bucket" / "model.tar.gz").touch()
    return Settings(home=tmp_path)


def test_the_newest_approved_package_of_all_groups_is_found(settings: Settings) -> None:
    register(settings.home, "old", "model.tar.gz")
    chosen = register(settings.home, "new", "model.tar.gz")
    register(settings.home, "new", "model.tar.gz", "PendingManualApproval")
    found = newest_approved(settings)
    assert found.package.arn == chosen
    assert found.archive == settings.home / "s3" / "bucket" / "model.tar.gz"


def test_packages_of_one_moment_keep_the_order_they_were_made_in(settings: Settings) -> None:
    registry = settings.home / "registry.json"
    for first, second in [("a", "b"), ("d", "c")]:
        register(settings.home, first, "model.tar.gz")
        chosen = register(settings.home, second, "model.tar.gz")
        moment = re.sub(r'"CreationTime": "[^"]*"', '"CreationTime": "1"', registry.read_text())
        registry.write_text(moment)
        assert newest_approved(settings).package.arn == chosen


def test_a_group_is_chosen_by_its_name(settings: Settings) -> None:
    chosen = register(settings.home, "old", "model.tar.gz")
    register(settings.home, "new", "model.tar.gz")
    assert newest_approved(settings, "old").package.arn == chosen


def test_without_any_package_the_way_to_one_is_named(settings: Settings) -> None:
    with pytest.raises(NoPackageError, match=r"no model package on this machine.*make run"):
        newest_approved(settings)


def test_a_package_that_waits_is_named_with_its_approval(settings: Settings) -> None:
    register(settings.home, "scenes", status="Rejected")
    waiting = register(settings.home, "scenes", status="PendingManualApproval")
    register(settings.home, "scenes", status="Rejected")
    with pytest.raises(NoPackageError, match=f"--approve {waiting}$"):
        newest_approved(settings, "scenes")


def test_an_archive_that_is_gone_is_said(settings: Settings) -> None:
    register(settings.home, "scenes", "gone.tar.gz")
    with pytest.raises(NoPackageError, match=r"gone\.tar\.gz is gone; register again"):
        newest_approved(settings)
