"""What a pipeline's graph is made of; dsl.py builds it, compiler.py writes it down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.component.errors import SpecError, UsageError
from shared.component.port import ParameterValue, Port
from shared.component.spec import ComponentSpec
from shared.pipeline.expressions import Comparison, Expression, Join, JsonGet, Property, Value
from shared.pipeline.search_space import SearchSpace

# SageMaker's names of parameter types, and what they are in component.yaml.
TYPE_NAMES = {"string": "String", "integer": "Integer", "number": "Float", "boolean": "Boolean"}
Inputs = dict[str, Any]  # keyword arguments of Pipeline.task: a value by port name
TRAININGS = "training"  # below a pipeline's name: where trainings put their models


@dataclass(frozen=True)
class Parameter:
    """A value chosen when an execution starts; `port` holds type, default and limits.

    origin: where the default comes from, where that is not component.yaml.
    """

    name: str
    port: Port
    origin: str = ""

    @property
    def default(self) -> ParameterValue:
        if self.port.default is None:
            raise SpecError(f"pipeline parameter '{self.name}' has no default; give it one")
        return self.port.parse(self.port.default, "pipeline")

    @property
    def expr(self) -> dict[str, Any]:
        return {"Get": f"Parameters.{self.name}"}

    def parse(self, text: ParameterValue) -> ParameterValue:
        """Turn what a person typed into the declared type, within its limits.

        Raises:
            UsageError: the text is no such value or lies outside the limits.
        """
        try:
            return self.port.parse(text, "pipeline")
        except UsageError as err:
            raise UsageError(str(err).replace(f"'{self.port.name}'", f"'{self.name}'")) from err


@dataclass(frozen=True)
class Artifact:
    """What a task writes to one of its outputs; its expression is the S3 URI.

    place: where it lies, if Describe does not say it of the task's job.
    """

    task: Task
    port: Port
    place: Expression | None = None

    @property
    def uri(self) -> Expression:
        if self.place is not None:
            return self.place
        if self.task.spec.kind == "training":
            return Property(self.task.name, "ModelArtifacts.S3ModelArtifacts")
        output = f"ProcessingOutputConfig.Outputs['{self.port.name}']"
        return Property(self.task.name, f"{output}.S3Output.S3Uri")

    @property
    def expr(self) -> dict[str, Any]:
        return self.uri.expr

    def json(self, file: str, path: str) -> JsonGet:
        """Return the number at `path` (by dots) of a JSON file in this artifact."""
        return JsonGet(self.task.name, self.port.name, file, path)


@dataclass(frozen=True)
class Task:
    """A component placed in a pipeline.

    locations: S3 URIs of outputs that have a fixed place instead of one per execution.
    """

    name: str
    spec: ComponentSpec
    artifacts: Mapping[str, Artifact]
    parameters: Mapping[str, Value]
    locations: Mapping[str, Value]
    instance_type: Value
    instance_count: Value

    def __getitem__(self, output: str) -> Artifact:
        return Artifact(self, self.spec.output(output))


@dataclass(frozen=True)
class Tuning:
    """A search: many trials of one training task, SageMaker's hyperparameter tuning step.

    task: what every trial trains; what is searched over is not among its parameters.
    objective: name of the metric that is to become as large as possible.
    trials, parallel: how many trainings in all, and at the same time.
    bucket, prefix: where trainings put their models; SageMaker says of the best its job's name
        alone, so its place is put together from these.
    """

    task: Task
    space: SearchSpace
    objective: Value
    trials: Value
    parallel: Value
    random_seed: Value
    bucket: str
    prefix: str

    @property
    def name(self) -> str:
        return self.task.name

    @property
    def job(self) -> Property:
        return Property(self.name, "HyperParameterTuningJobName")

    @property
    def record(self) -> Join:
        """Where the local backend writes what the trials were; SageMaker is asked for them."""
        return Join(["s3:/", self.bucket, self.prefix, self.job, "trials.json"], on="/")

    @property
    def best(self) -> Mapping[str, Artifact]:
        """The winner's outputs that outlive the search: its model."""
        # As the SDK's TuningStep.get_top_model_s3_uri addresses it; summaries are sorted.
        job = Property(self.name, "TrainingJobSummaries[0].TrainingJobName")
        place = Join(["s3:/", self.bucket, self.prefix, job, "output/model.tar.gz"], on="/")
        outputs = self.task.spec.outputs.values()
        return {p.name: Artifact(self.task, p, place) for p in outputs if p.type == "Model"}


@dataclass(frozen=True)
class RegisterModel:
    """SageMaker's own step that adds a version to a model package group."""

    name: str
    request: Mapping[str, Any]


@dataclass(frozen=True)
class Fail:
    """Ends the execution as failed, with a message."""

    name: str
    message: Value


Step = Task | Tuning | RegisterModel | Fail


@dataclass(frozen=True)
class Condition:
    """Where the pipeline forks; all comparisons must hold."""

    name: str
    comparisons: Sequence[Comparison]
    then: Sequence[Step]
    otherwise: Sequence[Step]
