"""The data report of the newest run that has one."""

from __future__ import annotations

import json

import pytest

from components.web.errors import Away, NotFound
from components.web.operator.data import DataSource, read_report
from components.web.operator.runs import Runs
from components.web.tests.operator import documents
from components.web.tests.operator.aws import PIPELINE, RUN, Store

FOLDER = "s3://bucket/scenes/preprocess/report"


def source_of(store: Store) -> DataSource:
    return DataSource(Runs(store.sagemaker(), None, PIPELINE, lambda: 0.0), None)


def test_the_report_of_the_newest_run_is_read(s3_root):
    documents.write(s3_root, f"{FOLDER}/report.json", documents.DATA)
    documents.write(s3_root, f"{FOLDER}/report.html", "<html>")
    found = source_of(Store()).get()
    assert found.run == RUN
    assert found.total("train") == 50
    assert found.reasons == {"truncated": 2}
    assert found.conflicts[0][1].label == "forest"
    assert found.leaks[0].exact
    assert source_of(Store()).page().html == b"<html>"


def test_without_a_run_there_is_none(s3_root):
    with pytest.raises(NotFound, match="no run has come past Preprocess yet"):
        source_of(Store(steps=[])).get()
    with pytest.raises(NotFound, match="not there any more"):
        source_of(Store()).get()


@pytest.mark.parametrize("data", [b"", b"{}", b"[]"])
def test_a_damaged_report_is_said_to_be(data):
    with pytest.raises(Away, match="cannot be read"):
        read_report(data, RUN)


def test_long_lists_are_cut_and_their_counts_stay_exact():
    many = [{"source": str(n), "reason": "truncated", "detail": ""} for n in range(500)]
    body = documents.DATA | {"quarantined": many, "counts": {"quarantined": 500}}
    found = read_report(json.dumps(body).encode(), RUN)
    assert len(found.quarantined) == 100
    assert found.counts["quarantined"] == 500
    assert found.reasons == {"truncated": 500}
