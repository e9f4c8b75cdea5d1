"""The actions that the state machine asks for, one call each; deploy.yaml has their order.

Each reads AWS anew and may be repeated. An action that AWS takes minutes for answers
"pending" until it is done; the state machine waits and asks again, until `LIMITS_S` is over.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import datetime
from typing import Any

from components.deploy.clients import Clients, code_of
from components.deploy.errors import DeployError, TimedOutError, WithdrawnError
from components.deploy.golden import Ask, check_golden, read_golden
from components.deploy.job import Job, suffix_of
from components.deploy.lock import Lock
from components.deploy.notice import compose, reason_in
from components.deploy.plan import Decision, Facts, Serving, Verdict, decide
from components.deploy.registry import APPROVED, REJECTED, approved_versions, read_package
from components.deploy.settings import Settings
from components.deploy.target import Target

log = logging.getLogger(__name__)
Json = dict[str, Any]
# Seconds from the loop's begin. SageMaker gives up on an endpoint after an hour; an update
# with its canary takes up to 5,400 s (endpoint.py).
LIMITS_S = {
    "plan": 4 * 3600,
    "stage": 4500,
    "promote": 3600,
    "watch": 7200,
    "finish": 3600,
    "roll_back": 7200,
}


class Steps:
    """The actions of one stage.

    clock: returns epoch seconds.
    """

    def __init__(
        self, clients: Clients, settings: Settings, target: Target, clock: Callable[[], float]
    ) -> None:
        self._clients = clients
        self._settings = settings
        self._target = target
        self._clock = clock
        self._lock = Lock(clients["s3"], settings.artifacts_bucket, self._is_running)

    def act(self, event: Mapping[str, Any]) -> Json:
        """Do what `action` names and say "ready", "pending", or "failed" and why.

        A failure that is one of the deployment is an answer: no attempt more would change it.
        What AWS refuses is raised, and Step Functions tries again.
        """
        try:
            return self._act(event)
        except DeployError as err:
            if event["action"] == "plan":  # nothing was begun that could be taken back
                raise
            log.info("%s: %s", event["action"], err)
            return {"status": "failed", "error": {"Error": type(err).__name__, "Cause": str(err)}}

    def _act(self, event: Mapping[str, Any]) -> Json:
        action = event["action"]
        if since := event.get("since"):
            self._heed_limit(action, since)
        if action == "plan":
            return self._plan(event["package"], event["execution"])
        if action == "report":
            return self._report(event)
        job = Job.from_dict(event["job"])
        actions: dict[str, Callable[[Job], Json]] = {
            "stage": lambda job: _status(self._target.stage(job)),
            "prove_staged": lambda job: self._prove(job, self._target.ask_staged(job)),
            "promote": self._promote,
            "watch": lambda job: _status(self._target.is_promoted(job)),
            "prove_live": self._prove_live,
            "finish": lambda job: self._end(self._target.finish(job), event["execution"]),
            "roll_back": lambda job: self._end(self._target.roll_back(job), event["execution"]),
        }
        said = actions[action](job)
        log.info("%s of version %d: %s", action, job.version, said)
        return said

    def _plan(self, arn: str, execution: str) -> Json:
        decision, job = self._decide(arn, execution)
        if decision.verdict is Verdict.DEPLOY:
            if self._lock.take(execution):
                # Others may have changed things until the lock was ours; from now on none does.
                decision, job = self._decide(arn, execution)
                if decision.verdict is not Verdict.DEPLOY:
                    self._lock.release(execution)
            else:
                reason = "another deployment holds the lock"
                decision, job = Decision(Verdict.WAIT, decision.version, reason), None
        log.info("%s: %s: %s", arn, decision.verdict, decision.reason)
        return {
            "verdict": decision.verdict.value,
            "version": decision.version,
            "reason": decision.reason,
            "job": job.to_dict() if job else None,
        }

    def _decide(self, arn: str, execution: str) -> tuple[Decision, Job | None]:
        client = self._clients["sagemaker"]
        package = read_package(client, arn)
        approved = approved_versions(client, self._settings.base)
        serving = self._target.serving()
        version = package.version if package else 0
        missing = self._missing_alarms()
        is_undecided = package is not None and package.status not in (APPROVED, REJECTED)
        decision = decide(Facts(version, frozenset(approved), serving, missing, is_undecided))
        if decision.verdict is not Verdict.DEPLOY:
            return decision, None
        wanted = read_package(client, approved[decision.version])
        if wanted is None or wanted.status != APPROVED:  # changed this very moment
            return Decision(Verdict.WAIT, decision.version, "the registry is changing"), None
        return decision, Job(
            wanted.arn,
            wanted.version,
            wanted.model_data,
            suffix_of(execution),
            serving.reference,
            serving.version,
        )

    def _promote(self, job: Job) -> Json:
        self._heed_registry(job)
        return _status(self._target.promote(job))

    def _prove_live(self, job: Job) -> Json:
        said = self._prove(job, self._target.ask_live(job))
        self._heed_registry(job)
        return said

    def _prove(self, job: Job, ask: Ask) -> Json:
        bucket, _, key = job.model_data.removeprefix("s3://").partition("/")
        with closing(self._clients["s3"].get_object(Bucket=bucket, Key=key)["Body"]) as body:
            images = read_golden(body, job.model_data)
        return {
            "status": "ready",
            "images": len(images),
            "largest_difference": check_golden(images, ask),
        }

    def _end(self, is_done: bool, execution: str) -> Json:
        if is_done:
            self._lock.release(execution)
        return _status(is_done)

    def _report(self, event: Mapping[str, Any]) -> Json:
        """Tell people, and say what serves now even if that cannot be read."""
        from botocore.exceptions import BotoCoreError, ClientError

        serving: Serving | str
        try:
            serving = self._target.serving()
        except (BotoCoreError, ClientError) as err:
            serving = f"unknown: {err}"
        error = event.get("error")
        outcome = event["outcome"]
        if outcome == "rolled_back" and error and error.get("Error") == WithdrawnError.__name__:
            outcome = "withdrawn"
        reason = reason_in(error) if error else str(event.get("reason", ""))
        subject, text = compose(
            self._settings.base,
            outcome,
            int(event.get("version") or event.get("package", "").rpartition("/")[2] or 0),
            serving,
            reason,
            event["execution"],
        )
        self.tell(subject, text)
        return {"outcome": outcome, "reason": reason}

    def tell(self, subject: str, text: str) -> None:
        """Publish a notice."""
        log.info("%s", subject)
        self._clients["sns"].publish(TopicArn=self._settings.notices, Subject=subject, Message=text)

    def _heed_registry(self, job: Job) -> None:
        package = read_package(self._clients["sagemaker"], job.package)
        if package is None or package.status != APPROVED:
            status = package.status if package else "gone"
            raise WithdrawnError(
                f"promotion: {job.package} is {status}; approve it again to deploy it"
            )

    def _heed_limit(self, action: str, since: str) -> None:
        begun = datetime.fromisoformat(since.replace("Z", "+00:00")).timestamp()
        if self._clock() - begun > LIMITS_S[action]:
            raise TimedOutError(
                f"{action}: not done after {LIMITS_S[action]} seconds; look at the state of "
                f"{self._settings.base} in SageMaker or Lambda, then approve again"
            )

    def _missing_alarms(self) -> tuple[str, ...]:
        names = list(self._target.alarms)
        if not names:
            return ()
        found = self._clients["cloudwatch"].describe_alarms(AlarmNames=names)["MetricAlarms"]
        return tuple(sorted(set(names) - {alarm["AlarmName"] for alarm in found}))

    def _is_running(self, execution: str) -> bool:
        from botocore.exceptions import ClientError

        try:
            found = self._clients["stepfunctions"].describe_execution(executionArn=execution)
        except ClientError as err:
            if code_of(err) in ("ExecutionDoesNotExist", "InvalidArn"):
                return False
            raise
        return bool(found["status"] == "RUNNING")


def _status(is_done: bool) -> Json:
    return {"status": "ready" if is_done else "pending"}
