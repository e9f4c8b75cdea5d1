"""Logs of steps: the last lines first, and on to those before."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from components.web.errors import NotFound
from components.web.operator.run_records import Step
from components.web.operator.step_logs import StepLogs
from components.web.tests.operator.aws import Fake, error

TRAIN = Step(name="Train", kind="TrainingJob", status="Executing", job="j-train")
STREAMS = {"logStreams": [{"logStreamName": f"j-train/algo-{n}-1"} for n in (1, 2)]}


def lines(*texts: str) -> dict:
    return {
        "events": [{"timestamp": 1000 * n, "message": f"{t}\n"} for n, t in enumerate(texts)],
        "nextBackwardToken": "b/1",
        "nextForwardToken": "f/1",
    }


def logs_of(**answers) -> tuple[StepLogs, Fake]:
    fake = Fake(
        "logs", **{"describe_log_streams": STREAMS, "get_log_events": lines("a", "b")} | answers
    )
    return StepLogs(fake), fake


def test_the_last_lines_come_first_from_the_group_of_the_jobs_kind():
    logs, fake = logs_of()
    page = logs.tail(TRAIN, limit=2)
    assert [line.text for line in page.lines] == ["a", "b"]
    assert page.lines[1].time == datetime.fromtimestamp(1, UTC)
    assert page.streams == ("j-train/algo-1-1", "j-train/algo-2-1")
    assert page.older == "b/1"
    asked = fake.requests("describe_log_streams")[0]
    assert asked["logGroupName"] == "/aws/sagemaker/TrainingJobs"
    assert asked["logStreamNamePrefix"] == "j-train/"


def test_the_begin_of_a_stream_is_the_end_of_going_back():
    logs, _ = logs_of()
    assert logs.tail(TRAIN, limit=3).older is None  # fewer lines than asked for
    assert logs.tail(TRAIN, older="b/1", limit=2).older is None  # the same token again
    assert logs_of(get_log_events=lines())[0].tail(TRAIN).lines == ()


def test_another_machine_is_read_by_its_stream_and_a_foreign_one_refused():
    logs, fake = logs_of()
    assert logs.tail(TRAIN, "j-train/algo-2-1").stream == "j-train/algo-2-1"
    assert fake.requests("get_log_events")[0]["logStreamName"] == "j-train/algo-2-1"
    with pytest.raises(NotFound, match="has no stream other/algo-1"):
        logs.tail(TRAIN, "other/algo-1")


def test_what_has_no_log_says_why():
    logs, _ = logs_of(describe_log_streams=error("ResourceNotFoundException", "no group"))
    assert logs.tail(TRAIN).note == "Nothing has been written yet."
    gate = Step(name="GatesPassed", kind="Condition", status="Succeeded")
    assert "no job of its own" in logs.tail(gate).note
    cached = Step(name="Train", kind="TrainingJob", status="Succeeded", cached_from="abc")
    assert "taken from run abc" in logs.tail(cached).note
