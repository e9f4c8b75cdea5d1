"""Our interpreter against AWS's own local executor, on random pipelines."""

from __future__ import annotations

import json
import random
import re
import threading
import zlib
from typing import Any

import pytest

import pipeline
from shared.pipeline.backends.interpreter import Interpreter, Node, nodes_of
from shared.pipeline.backends.resolve import Scope, parameter_values
from shared.pipeline.backends.steps import LocalSteps
from shared.pipeline.execution import Execution, StepRecord
from shared.pipeline.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore")  # the SDK's own
COUNT = 20
JOBS = {"FetchData", "Preprocess", "Train", "Evaluate", "Explain", "FitDetector"}
METRICS = {
    "GOOD": {"accuracy": 0.95, "macro_f1": 0.95, "min_class_recall": 0.9, "regression": 0.0},
    "POOR": {"accuracy": 0.95, "macro_f1": 0.95, "min_class_recall": 0.9, "regression": 0.5},
}
TRAINED = {"ModelArtifacts": {"S3ModelArtifacts": "s3://bucket/model.tar.gz"}}


def test_agrees_with_the_executor_of_aws() -> None:
    seen = set()
    session = _session()
    for seed in range(COUNT):
        session.sagemaker_client = Client()
        made = Maker(random.Random(seed), session).pipeline()  # noqa: S311 - dice
        definition = json.loads(made.definition())
        theirs, their_requests = _run_theirs(session, made)
        ours, our_requests = _run_ours(definition)
        assert ours.status == theirs["status"], f"seed {seed}: {ours.reason}"
        if ours.status == "Succeeded":
            assert _succeeded(ours) == theirs["succeeded"], f"seed {seed}"
            assert our_requests == their_requests, f"seed {seed}"
        # When a step fails, AWS has run some of the steps in a row, we others in parallel.
        both = our_requests.keys() & their_requests.keys()
        assert all(our_requests[name] == their_requests[name] for name in both), f"seed {seed}"
        seen |= {ours.status} | _condition_types(definition)
    kinds = {"Equals", "GreaterThan", "GreaterThanOrEqualTo", "LessThan", "LessThanOrEqualTo"}
    assert seen == {"Succeeded", "Failed", "In", "Not", "Or"} | kinds


@pytest.mark.parametrize(("metrics", "status"), [("GOOD", "Succeeded"), ("POOR", "Failed")])
def test_our_own_definition_agrees_on_both_sides_of_its_gates(
    monkeypatch: pytest.MonkeyPatch, metrics: str, status: str
) -> None:
    """All but the branch that registers, which is more than AWS's executor can do."""
    from shared.pipeline.tests.sdk_witness import Witness

    monkeypatch.setitem(globals(), "content", lambda _uri: {"metrics": METRICS[metrics]})
    settings, session = Settings(), _session()
    session.sagemaker_client = Client()
    made = Witness(pipeline.build(settings), settings).build()
    made.sagemaker_session = session
    made.steps[-1].if_steps = []  # it refuses RegisterModel even where it would not be reached
    theirs, their_requests = _run_theirs(session, made)
    ours, our_requests = _run_ours(json.loads(made.definition()))
    assert ours.status == theirs["status"] == status
    assert our_requests.keys() == JOBS
    # Theirs runs steps in a row: at a gate that fails, some that do not depend on it are undone.
    assert status == "Failed" or their_requests.keys() == JOBS
    ours_seen = {name: our_requests[name] for name in their_requests}
    assert _without_ids(ours_seen) == _without_ids(their_requests)


def content(uri: str) -> dict[str, Any]:
    """Return what the JSON file at a URI holds: anything, but always the same."""
    number = zlib.crc32(uri.removeprefix("s3://").encode())
    return {"a": {"b": number % 100 / 100}, "list": [number % 7, 3], "word": "xy"[number % 2]}


class Client:
    """Stands in for Docker: remembers a request and describes it as done."""

    def __init__(self) -> None:
        self.requests: dict[str, dict[str, Any]] = {}

    def create_processing_job(self, name: str, **request: Any) -> None:
        self.requests[name] = request

    def describe_processing_job(self, name: str) -> dict[str, Any]:
        return json.loads(json.dumps(self.requests[name]))

    create_training_job = create_processing_job

    def describe_training_job(self, name: str) -> dict[str, Any]:
        return self.describe_processing_job(name) | TRAINED


class Maker:
    """Makes one random pipeline out of the SDK's objects."""

    def __init__(self, dice: random.Random, session: Any) -> None:
        from sagemaker.core.workflow.parameters import (
            ParameterFloat,
            ParameterInteger,
            ParameterString,
        )

        self.dice, self.session, self.number = dice, session, 0
        self.jobs: list[Any] = []
        self.limit = ParameterFloat("Limit", default_value=0.5)
        self.count = ParameterInteger("Count", default_value=3)
        self.word = ParameterString("Word", default_value="x")

    def pipeline(self) -> Any:
        from sagemaker.mlops.workflow.pipeline import Pipeline

        steps = [self.job() for _ in range(self.dice.randint(2, 5))]
        steps += [self.fork(depth=2) for _ in range(self.dice.randint(1, 2))]
        parameters = [self.limit, self.count, self.word]
        return Pipeline("p", parameters=parameters, steps=steps, sagemaker_session=self.session)

    def name(self, kind: str) -> str:
        self.number += 1
        return f"{kind}{self.number}"

    def job(self, upstream: list[Any] | None = None) -> Any:
        from sagemaker.core import shapes
        from sagemaker.core.processing import Processor
        from sagemaker.core.workflow.functions import Join
        from sagemaker.core.workflow.properties import PropertyFile
        from sagemaker.mlops.workflow.steps import ProcessingStep

        name = self.name("Job")
        processor = Processor(
            role="arn:aws:iam::000000000000:role/x",
            image_uri="image:1",
            instance_count=self.count,
            instance_type="ml.m5.xlarge",
            entrypoint=["run"],
            sagemaker_session=self.session,
        )
        known = upstream if upstream is not None else self.jobs
        words = [self.word, self.count.to_string(), Join(on="=", values=["--limit", self.limit])]
        if known:
            source = self.dice.choice(known)
            outputs = source.properties.ProcessingOutputConfig.Outputs
            words.append(Join(on="/", values=[outputs["out"].S3Output.S3Uri, "f.json"]))
            words.append(Join(on="", values=["v", self.read(known)]))
        target = shapes.ProcessingS3Output(
            s3_uri=f"s3://bucket/{name}-{self.dice.randint(0, 99)}",
            local_path="/opt/ml/processing/output/out",
            s3_upload_mode="EndOfJob",
        )
        output = shapes.ProcessingOutput(output_name="out", s3_output=target)
        file = PropertyFile("F", "out", "f.json")
        arguments = processor.run(outputs=[output], arguments=words)
        step = ProcessingStep(name, arguments, property_files=[file])
        if upstream is None:
            self.jobs.append(step)
        return step

    def read(self, known: list[Any], path: str = "a.b") -> Any:
        from sagemaker.core.workflow.functions import JsonGet

        return JsonGet(self.dice.choice(known).name, property_file="F", json_path=path)

    def condition(self, depth: int = 2) -> Any:
        from sagemaker.core.workflow import conditions as c

        kind = self.dice.randrange(8 if depth else 5)
        order = [c.ConditionGreaterThan, c.ConditionGreaterThanOrEqualTo]
        order += [c.ConditionLessThan, c.ConditionLessThanOrEqualTo]
        if kind < 4:
            return order[kind](left=self.read(self.jobs), right=self.limit)
        if kind == 4:
            return c.ConditionEquals(left=self.read(self.jobs, "word"), right=self.word)
        if kind == 5:
            return c.ConditionIn(
                value=self.read(self.jobs, "list[0]"), in_values=[1, 2, self.count]
            )
        if kind == 6:
            return c.ConditionNot(self.condition(depth - 1))
        return c.ConditionOr([self.condition(depth - 1) for _ in range(2)])

    def fork(self, depth: int) -> Any:
        from sagemaker.mlops.workflow.condition_step import ConditionStep

        return ConditionStep(
            self.name("Fork"),
            conditions=[self.condition() for _ in range(self.dice.randint(1, 2))],
            if_steps=self.branch(depth),
            else_steps=self.branch(depth),
        )

    def branch(self, depth: int) -> list[Any]:
        from sagemaker.core.workflow.functions import Join
        from sagemaker.mlops.workflow.fail_step import FailStep

        steps = [self.job(upstream=self.jobs)]
        if self.dice.random() < 0.5:
            steps.append(self.job(upstream=[steps[0]]))
        if depth and self.dice.random() < 0.4:
            steps.append(self.fork(depth - 1))
        elif self.dice.random() < 0.2:
            steps.append(FailStep(self.name("Fail"), Join(on=" ", values=["no", self.word])))
        return steps


def _session() -> Any:
    from shared.pipeline.tests import sdk_witness  # first: it turns the telemetry off

    import boto3  # isort: skip
    from sagemaker.core.workflow.pipeline_context import PipelineSession
    from sagemaker.mlops.local import LocalPipelineSession

    class Session(LocalPipelineSession, PipelineSession):  # v3 has each half in one class
        def read_s3_file(self, bucket: str, key: str) -> str:
            return json.dumps(content(f"{bucket}/{key}"))

    boto = boto3.Session(region_name="us-east-1")
    config = sdk_witness.TELEMETRY_OFF
    return Session(boto_session=boto, default_bucket="bucket", sagemaker_config=config)


def _run_theirs(session: Any, made: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    # Without its telemetry, which looks for its switch in a session of its own.
    session.create_pipeline.__wrapped__(session, made, "description")
    execution = session.start_pipeline_execution(PipelineName=made.name)
    steps = execution.step_execution
    done = {name for name, step in steps.items() if step.status == "Succeeded"}
    requests = {}
    for job, request in session.sagemaker_client.requests.items():
        requests[job.split("-")[0]] = request
    return {"status": execution.status, "succeeded": done}, requests


def _run_ours(definition: dict[str, Any]) -> tuple[Execution, dict[str, Any]]:
    execution = Execution("p", "arn:aws:sagemaker:us-east-1:000000000000:pipeline/p/execution/e")
    files = {(n.name, "F"): ("out", "f.json") for n in nodes_of(definition)}
    files |= {
        (n.name, file["PropertyFileName"]): (file["OutputName"], file["FilePath"])
        for n in nodes_of(definition)
        for file in n.body.get("PropertyFiles", [])
    }
    variables = {"PipelineExecutionId": "e"}
    scope = Scope(parameter_values(definition["Parameters"], {}), variables, content, files)
    requests: dict[str, Any] = {}
    steps: Any = LocalSteps(execution, scope, *[None] * 7)  # type: ignore[arg-type]

    def run_step(node: Node, record: StepRecord, threads: int) -> dict[str, Any]:
        if node.type == "Training":
            requests[node.name] = scope.resolve(node.body["Arguments"])
            return requests[node.name] | TRAINED
        if node.type != "Processing":
            answer: dict[str, Any] = steps.run(node, record, threads)
            return answer
        requests[node.name] = scope.resolve(node.body["Arguments"])
        return dict(requests[node.name])

    Interpreter(definition, execution, scope, run_step, lambda: None, threading.Event(), 2).run()
    return execution, requests


def _without_ids(requests: dict[str, Any]) -> Any:
    """Leave out the execution's own id, which locations carry."""
    text = json.dumps(requests, sort_keys=True)
    return json.loads(re.sub(r'/(checkpoints|visionloop(?!/checkpoints))/[^/"]+', r"/\1/ID", text))


def _succeeded(execution: Execution) -> set[str]:
    return {step.name for step in execution.steps.values() if step.status == "Succeeded"}


def _condition_types(definition: dict[str, Any]) -> set[str]:
    types = set(re.findall(r'"Type": "(\w+)"', json.dumps(definition)))
    return types - {"Processing", "Condition", "Fail", "Float", "Integer", "String"}
