"""Model packages: what is known of them, and a decision that nobody makes unawares."""

from __future__ import annotations

from datetime import timedelta

import boto3
import pytest
from moto import mock_aws

from components.web.errors import Away, Conflict, NotFound
from components.web.operator.packages import Packages, rolls_back_to
from components.web.operator.reports import POLICY, open_report
from components.web.tests.operator import documents
from components.web.tests.operator.aws import BEGAN, RUN, Store, error

FOLDER = "s3://bucket/scenes/run{}/Register/report"


@pytest.fixture
def store(s3_root) -> Store:
    """Return a registry of three versions, of which two have a report."""
    found = Store()
    for version, status in ((1, "Approved"), (2, "Rejected"), (3, "PendingManualApproval")):
        found.add_package(version, status)
    for version in (1, 3):
        folder = FOLDER.format(version)
        documents.write(s3_root, f"{folder}/report.json", documents.REPORT)
        documents.write(s3_root, f"{folder}/statistics.json", documents.STATISTICS)
        documents.write(s3_root, f"{folder}/index.html", "<html>the report</html>")
    return found


def packages_of(store: Store, **answers) -> Packages:
    return Packages(store.sagemaker(**answers), None, "scenes")


def test_the_list_has_the_newest_first_with_what_each_reaches(store):
    page = packages_of(store).list()
    assert [(p.version, p.status, p.accuracy) for p in page.packages] == [
        (3, "PendingManualApproval", 0.85),
        (2, "Rejected", None),
        (1, "Approved", 0.85),
    ]
    assert page.before is None


def test_a_long_list_comes_in_pages(store):
    packages = packages_of(store)
    first = packages.list(limit=2)
    assert [p.version for p in first.packages] == [3, 2]
    assert first.before == 2
    assert [p.version for p in packages.list(limit=2, before=first.before).packages] == [1]


def test_without_a_group_there_is_nothing_yet():
    absent = error("ValidationException", "ModelPackageGroup scenes does not exist.")
    packages = packages_of(Store(), list_model_packages=absent)
    assert packages.list().packages == []
    assert packages.champion() == ""
    with pytest.raises(NotFound, match="no version 1"):
        packages.get(1)


def test_a_version_has_its_figures_and_where_it_comes_from(store):
    package = packages_of(store).get(3)
    assert package.run == RUN
    assert package.has_report
    assert package.note == ""
    assert package.figures.golden_images == 12
    assert package.model_data == "s3://bucket/scenes/run3/Register/package/model.tar.gz"
    assert package.created == BEGAN + timedelta(hours=3)


def test_a_version_whose_report_is_gone_is_shown_with_that_said(store):
    package = packages_of(store).get(2)
    assert not package.has_report
    assert "nothing says how good" in package.note
    with pytest.raises(NotFound, match="not there any more"):
        packages_of(store).report(2)


def test_reports_that_cannot_be_read_hide_no_version(store, monkeypatch):
    monkeypatch.setattr(
        "components.web.operator.packages.open_store", lambda *_: (_ for _ in ()).throw(AWAY)
    )
    packages = packages_of(store)
    assert [p.version for p in packages.list().packages] == [3, 2, 1]
    assert "no bucket" in packages.get(3).note


AWAY = Away("no bucket")


def test_a_report_is_read_once(store, s3_root):
    packages = packages_of(store)
    packages.list()
    (s3_root / FOLDER.format(3).removeprefix("s3://") / "report.json").unlink()
    assert packages.list().packages[0].accuracy == 0.85


def test_the_champion_is_the_newest_approved(store):
    packages = packages_of(store)
    assert packages.champion() == "s3://bucket/scenes/run1/Register/package/model.tar.gz"
    assert packages.approved() == [1]


def test_a_decision_is_told_to_the_registry_with_its_reason(store):
    packages = packages_of(store)
    assert packages.decide(3, "Approved", "good,\n all in all", seen="PendingManualApproval") == (
        "PendingManualApproval"
    )
    assert packages.get(3).comment == "good, all in all"
    assert packages.approved() == [3, 1]


def test_a_decision_on_what_somebody_else_has_decided_is_a_conflict(store):
    packages = packages_of(store)
    with pytest.raises(Conflict, match="version 2 is Rejected by now"):
        packages.decide(2, "Approved", "", seen="PendingManualApproval")
    assert not packages._client.requests("update_model_package")


@pytest.mark.parametrize(
    ("approved", "serving", "back"),
    [([3, 2, 1], 3, 2), ([3], 3, None), ([3, 2], 2, 3), ([], None, None), ([2], None, 2)],
)
def test_a_roll_back_leads_to_the_newest_other_approved_version(approved, serving, back):
    assert rolls_back_to(approved, serving) == back


def test_a_page_comes_with_a_policy_under_which_nothing_runs(store):
    response = packages_of(store).report(3).response()
    assert response.body == b"<html>the report</html>"
    assert response.headers["content-security-policy"] == POLICY


@mock_aws
def test_a_page_too_large_for_an_answer_is_fetched_from_s3_itself():
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="bucket")
    client.put_object(Bucket="bucket", Key="r/index.html", Body=b"x" * 5_000_001)
    response = open_report("s3://bucket/r", "index.html", client).response()
    assert response.status_code == 303
    assert response.headers["location"].startswith("https://bucket.s3.amazonaws.com/r/index.html?")
    client.put_object(Bucket="bucket", Key="r/index.html", Body=b"small")
    assert open_report("s3://bucket/r", "index.html", client).response().body == b"small"
