"""What Lambda calls: messages of the queue in, at most one started run out.

No message is trusted: each says only that it is time to look. One message group of a FIFO
queue brings them, so that no two looks run at once; the state object refuses a second
writer all the same. What raises is tried again by the queue, then lies in its dead-letter
queue, which has an alarm.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from components.retrain.decide import WAITS, Decision, Outcome, Wake, before_looking, decide
from components.retrain.lake import read_lake
from components.retrain.state import Start, State, StateFile
from shared.component import logs
from shared.component.operator import OperatorValues, ParameterStore, read_operator

log = logging.getLogger(__name__)
_RUNNING = ("Executing", "Stopping")


@dataclass(frozen=True)
class Settings:
    """The component's parameters; component.yaml says what each is."""

    pipeline: str
    data_bucket: str
    artifacts_bucket: str
    operator_path: str
    quiet_s: float

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        return cls(
            environ["VISIONLOOP_PIPELINE"],
            environ["VISIONLOOP_DATA_BUCKET"],
            environ["VISIONLOOP_ARTIFACTS_BUCKET"],
            environ["VISIONLOOP_OPERATOR_PATH"],
            float(environ.get("VISIONLOOP_QUIET_S", "300")),
        )


@dataclass(frozen=True)
class Clients:
    """boto3's clients."""

    s3: Any
    ssm: Any
    sagemaker: Any

    @classmethod
    def connect(cls) -> Clients:
        import boto3

        session = boto3.Session()
        return cls(session.client("s3"), session.client("ssm"), session.client("sagemaker"))


def handle(event: Mapping[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - Lambda's
    """Look once for all messages of a batch."""
    logs.configure()
    wakes = read_wakes(event)
    Look(Clients.connect(), Settings.from_environ()).run(wakes)
    return {"batchItemFailures": []}


def read_wakes(event: Mapping[str, Any]) -> set[Wake]:
    """Return why there are messages; one that is none of ours is a reason to look, too."""
    return set(map(_wake, event.get("Records", []))) or {Wake.TICK}


def _wake(record: Mapping[str, Any]) -> Wake:
    try:
        return Wake(json.loads(record["body"])["wake"])
    except (ValueError, KeyError, TypeError):
        log.warning("a message says nothing of ours: %.200s", record.get("body"))
        return Wake.LABELS


class Look:
    """One look at data, state and pipeline.

    now: seconds since the epoch.
    """

    def __init__(
        self, clients: Clients, settings: Settings, now: Callable[[], float] = time.time
    ) -> None:
        self._clients = clients
        self._settings = settings
        self._now = now
        self._file = StateFile(clients.s3, settings.artifacts_bucket)

    def run(self, wakes: Iterable[Wake], *, is_dry: bool = False) -> Decision:
        """Start a run if the data there is asks for one, and remember it.

        is_dry: decide and do nothing.
        """
        state = self._file.read()
        decision, after = self._decide(set(wakes), state)
        log.info("outcome=%s reason=%s", decision.outcome, decision.reason)
        if is_dry:
            return decision
        if after != state:
            self._file.write(after)  # with a start: before SageMaker is asked
        if decision.outcome is Outcome.START and after.started is not None:
            started = self._start(after.started)
            self._file.write(replace(after, started=started, is_pending=False))
        return decision

    def _decide(self, wakes: set[Wake], state: State) -> tuple[Decision, State]:
        """Return what to do, and the state that is to be written before it is done."""
        now_s = self._now()
        store = ParameterStore(self._clients.ssm, self._settings.operator_path)
        operator = read_operator(store)
        wakes = wakes | ({Wake.DRIFT} if state.is_drift_pending else set())
        wakes |= {Wake.COMMIT} if state.is_commit_pending else set()
        early = before_looking(wakes, operator, state, now_s)
        if early is not None:
            # What came while it was off is looked at as soon as it is on again.
            is_told = early.outcome is Outcome.OFF and wakes != {Wake.TICK}
            is_pending = state.is_pending or is_told
            is_commit = Wake.COMMIT in wakes
            return early, replace(state, is_pending=is_pending, is_commit_pending=is_commit)
        executions = self._executions()
        if executions is None:  # a fresh stage: nothing is wrong, and nothing is lost
            reason = f"run pipeline.py --upsert --name {self._settings.pipeline}"
            return Decision(Outcome.NO_PIPELINE, reason), _waiting(state, wakes)
        state = _adopted(state, executions)
        ours = self._ours(state)
        if ours and ours["PipelineExecutionStatus"] == "Succeeded" and state.started:
            state = replace(state, trained=state.started.snapshot, started=None)
        seen = [*executions, *([ours] if ours else [])]  # ours may not be listed yet
        running = next((e for e in seen if e["PipelineExecutionStatus"] in _RUNNING), None)
        if running is not None:
            reason = str(running["PipelineExecutionArn"])
            return Decision(Outcome.RUNNING, reason), _waiting(state, wakes)
        state = replace(state, looked_at_s=now_s)
        if state.started is not None and not state.started.execution:
            return Decision(Outcome.START, "a start was interrupted", state.started), state
        return self._decide_on_data(wakes, operator, state, now_s)

    def _decide_on_data(
        self, wakes: set[Wake], operator: OperatorValues, state: State, now_s: float
    ) -> tuple[Decision, State]:
        known = [state.trained, *([state.started.snapshot] if state.started else [])]
        lake = read_lake(self._clients.s3, self._settings.data_bucket, *known)
        decision = decide(
            wakes,
            operator,
            state,
            lake,
            now_s=now_s,
            quiet_s=self._settings.quiet_s,
            bucket=self._settings.data_bucket,
            champion=self._champion(),
        )
        # A start is pending until SageMaker has answered.
        waits = decision.outcome in WAITS
        state = replace(
            state,
            is_pending=waits or decision.outcome is Outcome.START,
            is_drift_pending=waits and Wake.DRIFT in wakes,
            is_commit_pending=waits and Wake.COMMIT in wakes,
            started=decision.start or state.started,
        )
        return decision, state

    def _ours(self, state: State) -> dict[str, Any] | None:
        """Return what SageMaker says of the run that was started last, if one was."""
        if state.started is None or not state.started.execution:
            return None
        answer: dict[str, Any] = self._clients.sagemaker.describe_pipeline_execution(
            PipelineExecutionArn=state.started.execution
        )
        return answer

    def _champion(self) -> str:
        """Return where the newest approved model lies; the group is named as the pipeline."""
        pages = self._clients.sagemaker.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=self._settings.pipeline,
            ModelPackageType="Versioned",
            ModelApprovalStatus="Approved",
        )
        found = [summary for page in pages for summary in page["ModelPackageSummaryList"]]
        if not found:
            return ""
        newest = max(found, key=lambda summary: int(summary["ModelPackageVersion"]))
        package = self._clients.sagemaker.describe_model_package(
            ModelPackageName=newest["ModelPackageArn"]
        )
        return str(package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"])

    def _executions(self) -> list[dict[str, Any]] | None:
        """Return the pipeline's executions, whoever started them; None: there is no pipeline."""
        from botocore.exceptions import ClientError

        pages = self._clients.sagemaker.get_paginator("list_pipeline_executions").paginate(
            PipelineName=self._settings.pipeline, PaginationConfig={"PageSize": 100}
        )
        try:
            return [summary for page in pages for summary in page["PipelineExecutionSummaries"]]
        except ClientError as err:
            said = err.response["Error"]
            # The API's own code; moto has words instead.
            if said["Code"] != "ResourceNotFound" and "Could not find" not in said["Message"]:
                raise
            return None

    def _start(self, start: Start) -> Start:
        answer = self._clients.sagemaker.start_pipeline_execution(
            PipelineName=self._settings.pipeline,
            PipelineExecutionDisplayName=_display_name(start),
            ClientRequestToken=start.token,
            PipelineParameters=[{"Name": n, "Value": v} for n, v in start.parameters.items()],
        )
        arn = str(answer["PipelineExecutionArn"])
        log.info("started execution=%s parameters=%s", arn, dict(start.parameters))
        return replace(start, execution=arn)


def _waiting(state: State, wakes: set[Wake]) -> State:
    """Return the state of a look that has to be repeated.

    Without the time of the look: each write would be one more version of the object.
    """
    return replace(
        state,
        is_pending=True,
        is_drift_pending=Wake.DRIFT in wakes,
        is_commit_pending=Wake.COMMIT in wakes,
    )


def _display_name(start: Start) -> str:
    return f"retrain-{start.token[:24]}"


def _adopted(state: State, executions: Iterable[Mapping[str, Any]]) -> State:
    """Return the state with a run that was started, but whose ARN was never written down."""
    if state.started is None or state.started.execution:
        return state
    name = _display_name(state.started)
    for summary in executions:
        if summary.get("PipelineExecutionDisplayName") == name:
            arn = str(summary["PipelineExecutionArn"])
            return replace(state, started=replace(state.started, execution=arn))
    return state
