"""CloudWatch Logs: the log of a step, as the log stream of its job.

A line begins with its time of day, in this machine's zone (shared.component.logs); the day
is the job's. A line without a time has that of the line before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path

from shared.pipeline.local_aws.call import Call, Json, Operations, moment
from shared.pipeline.local_aws.errors import ApiError
from shared.pipeline.local_aws.executions import Executions, Job

_GROUPS = {
    "/aws/sagemaker/ProcessingJobs": "Processing",
    "/aws/sagemaker/TrainingJobs": "Training",
}
_MOST_EVENTS = 10_000  # AWS's limit and default of one answer
_TIME = re.compile(r"(\d\d:\d\d:\d\d) ")
_TOKEN = re.compile(r"([fb])/(\d{1,18})")


@dataclass(frozen=True)
class LogEvents:
    """Answers for the two log groups of a pipeline's jobs."""

    executions: Executions

    @property
    def operations(self) -> Operations:
        return {"GetLogEvents": self.get, "DescribeLogStreams": self.streams}

    def streams(self, call: Call) -> Json:
        """Return the stream of the job that a prefix names in full: each has one."""
        kind = _kind(call)
        prefix = call.text("logStreamNamePrefix", "")
        job = self.executions.job(prefix.partition("/")[0])
        if job is None or job.step.type != kind or not job.step.log:
            return {"logStreams": []}
        name = _stream(job)
        if not name.startswith(prefix):
            return {"logStreams": []}
        group = call.text("logGroupName")
        events = list(_events(job))
        times = {"firstEventTimestamp": 0, "lastEventTimestamp": -1} if events else {}
        return {
            "logStreams": [
                {
                    "logStreamName": name,
                    "creationTime": _milliseconds(job),
                    **{member: events[at]["timestamp"] for member, at in times.items()},
                    "arn": f"arn:aws:logs:{self.executions.region}:000000000000:log-group:{group}:"
                    f"log-stream:{name}",
                }
            ]
        }

    def get(self, call: Call) -> Json:
        """Return lines from the head, the newest, or where a token points to.

        A token is the number of the line to go on from: forwards, or backwards up to it.
        """
        kind = _kind(call)
        name = call.text("logStreamName")
        job = self.executions.job(name.partition("/")[0])
        if job is None or job.step.type != kind or name != _stream(job):
            raise _missing("stream")
        events = list(_events(job))
        limit = call.whole("limit", _MOST_EVENTS, _MOST_EVENTS)
        start, end = _span(call, len(events), limit)
        return {
            "events": events[start:end],
            "nextForwardToken": f"f/{end}",
            "nextBackwardToken": f"b/{start}",
        }


def _span(call: Call, count: int, limit: int) -> tuple[int, int]:
    token = call.text("nextToken", "")
    if not token:
        is_head = bool(call.body.get("startFromHead"))
        return (0, min(limit, count)) if is_head else (max(0, count - limit), count)
    parts = _TOKEN.fullmatch(token)
    if not parts:
        raise ApiError("InvalidParameterException", "The specified nextToken is invalid.")
    at = min(int(parts[2]), count)
    return (at, min(at + limit, count)) if parts[1] == "f" else (max(0, at - limit), at)


def _kind(call: Call) -> str:
    kind = _GROUPS.get(call.text("logGroupName"))
    if kind is None:
        raise _missing("group")
    return kind


def _missing(what: str) -> ApiError:
    return ApiError("ResourceNotFoundException", f"The specified log {what} does not exist.")


def _stream(job: Job) -> str:
    return f"{job.name}/algo-1-{_milliseconds(job) // 1000}"


def _milliseconds(job: Job) -> int:
    return int(moment(job.step.start) * 1000)


def _events(job: Job) -> Iterator[Json]:
    try:
        text = Path(job.step.log).read_text(errors="replace")
    except FileNotFoundError:  # the job has said nothing yet
        return
    now = datetime.fromisoformat(job.step.start).astimezone()
    for line in text.splitlines():
        now = _time_of(line, now)
        stamp = int(now.timestamp() * 1000)
        yield {"timestamp": stamp, "ingestionTime": stamp, "message": line}


def _time_of(line: str, before: datetime) -> datetime:
    parts = _TIME.match(line)
    if not parts:
        return before
    try:
        clock = time.fromisoformat(parts[1])
    except ValueError:
        return before
    found = _at(before.date(), clock)
    # Seconds are cut off, and two processes' lines may cross; half a day back is tomorrow.
    if found < before - timedelta(hours=12):
        return _at(before.date() + timedelta(days=1), clock)
    return max(found, before)


def _at(day: date, clock: time) -> datetime:
    return datetime.combine(day, clock).astimezone()
