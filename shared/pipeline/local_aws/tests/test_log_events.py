"""The time of a log's lines: theirs where they say it, on the day of their job."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from shared.pipeline.execution import Execution, StepRecord, local_arn
from shared.pipeline.local_aws.call import Call
from shared.pipeline.local_aws.executions import Executions
from shared.pipeline.local_aws.log_events import LogEvents

_GROUP = "/aws/sagemaker/ProcessingJobs"
# As a job's log has it: the time of day where the machine is.
_START = datetime(2030, 1, 1, 23, 59, 58, 500_000).astimezone()


def _seconds(home: Path, text: str) -> list[float]:
    """Return each line's seconds after its job's start."""
    execution = Execution("p", local_arn("pipeline", "p/execution/0a", "us-east-1"))
    log = home / "log.txt"
    log.write_text(text)
    execution.steps["Evaluate"] = StepRecord(
        "Evaluate",
        "Processing",
        "Succeeded",
        start=_START.isoformat(),
        job="0a-Evaluate",
        log=str(log),
    )
    execution.save(home / "executions" / "p" / "0a")
    logs = LogEvents(Executions(home, "us-east-1"))
    asked = {"logGroupName": _GROUP, "logStreamNamePrefix": "0a-Evaluate/"}
    (stream,) = logs.streams(Call(asked))["logStreams"]
    events = logs.get(Call(asked | {"logStreamName": stream["logStreamName"]}))["events"]
    assert [event["message"] for event in events] == text.splitlines()
    return [event["timestamp"] / 1000 - _START.timestamp() for event in events]


def test_a_line_without_a_time_has_that_of_the_line_before(tmp_path: Path) -> None:
    text = "first\n23:59:59 INFO x: second\nthird\n99:99:99 no time\n"
    assert _seconds(tmp_path, text) == [0, 0.5, 0.5, 0.5]


def test_after_midnight_it_is_the_next_day(tmp_path: Path) -> None:
    text = "23:59:59 INFO x: a\n00:00:01 INFO x: b\n23:00:00 INFO x: c\n"
    late = timedelta(hours=23, seconds=1.5).total_seconds()
    assert _seconds(tmp_path, text) == [0.5, 2.5, late]


def test_times_never_go_back(tmp_path: Path) -> None:
    """The start is known to the millisecond, a line's time is cut to the second."""
    assert _seconds(tmp_path, "23:59:58 INFO x: a\n23:59:57 INFO x: other\n") == [0, 0]
