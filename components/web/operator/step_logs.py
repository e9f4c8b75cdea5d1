"""The log of a step's job, from CloudWatch Logs, the last lines first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from components.web.errors import NotFound
from components.web.operator.asking import asking
from components.web.operator.run_records import LogLine, LogPage, Step

# docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html
_GROUPS = {
    "ProcessingJob": "/aws/sagemaker/ProcessingJobs",
    "TrainingJob": "/aws/sagemaker/TrainingJobs",
}
_WHERE = "logs"
_MOST_STREAMS = 50  # machines of one job; the API's own most


class StepLogs:
    """Logs by step; `client` is boto3's for CloudWatch Logs."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def tail(
        self, step: Step, stream: str = "", older: str | None = None, limit: int = 200
    ) -> LogPage:
        """Return the last lines, or those before a page that was seen.

        stream: one machine's; "": the first. older: as the page after it said.

        Raises:
            WebError: there is no such stream, or CloudWatch does not answer.
        """
        group = _GROUPS.get(step.kind)
        if group is None or not step.job:
            note = f"{step.name} is no job of its own; it writes no log."
            if step.cached_from:
                note = f"The result was taken from run {step.cached_from}; its log stands there."
            return LogPage(step=step.name, note=note)
        streams = self._streams(group, step.job)
        if not streams:
            return LogPage(step=step.name, note="Nothing has been written yet.")
        if stream and stream not in streams:
            raise NotFound(f"logs: {step.name} has no stream {stream}; it has {', '.join(streams)}")
        return self._page(group, step.name, stream or streams[0], streams, older, limit)

    def _streams(self, group: str, job: str) -> list[str]:
        try:
            with asking(_WHERE, "there is no log group yet"):
                answer = self._client.describe_log_streams(
                    logGroupName=group, logStreamNamePrefix=f"{job}/", limit=_MOST_STREAMS
                )
        except NotFound:
            return []
        return [found["logStreamName"] for found in answer.get("logStreams", [])]

    def _page(
        self,
        group: str,
        step: str,
        stream: str,
        streams: list[str],
        older: str | None,
        limit: int,
    ) -> LogPage:
        token = {"nextToken": older} if older else {}
        with asking(_WHERE, f"the log of {step} is not there any more"):
            answer = self._client.get_log_events(
                logGroupName=group,
                logStreamName=stream,
                limit=limit,
                startFromHead=False,
                **token,
            )
        events = answer.get("events", [])
        before = answer.get("nextBackwardToken")
        # The end of a stream answers the token it was asked with.
        has_older = bool(events) and before != older and len(events) >= limit
        return LogPage(
            step=step,
            stream=stream,
            streams=streams,
            lines=[
                LogLine(
                    time=datetime.fromtimestamp(event["timestamp"] / 1000, UTC),
                    text=event["message"].rstrip("\n"),
                )
                for event in events
            ],
            older=before if has_older else None,
        )
