"""The same pipeline, built from the SageMaker SDK's own step objects.

The witness in two tests: `compiler.py` must write the document that the SDK writes, and
the local interpreter must do what AWS's local executor does. The only file that imports
sagemaker: the import takes seconds, so product code does without it.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from shared.component.layout import LOGS_VARIABLE, OPT_ML, PACKED_LOGS, Layout
from shared.pipeline import compiler
from shared.pipeline.dsl import Pipeline
from shared.pipeline.expressions import ExecutionVariable, Expression, Join, JsonGet, Property
from shared.pipeline.graph import (
    Artifact,
    Condition,
    Fail,
    Parameter,
    RegisterModel,
    Task,
    Tuning,
)
from shared.pipeline.images import image_uri
from shared.pipeline.search_space import SearchSpace
from shared.pipeline.settings import Settings

# Before the import: no role check, no telemetry, no look for credentials in a network.
os.environ.update(
    SAGEMAKER_VALIDATE_ROLE="false",
    MLFLOW_DISABLE_TELEMETRY="true",
    AWS_EC2_METADATA_DISABLED="true",
    AWS_DEFAULT_REGION="us-east-1",
    AWS_ACCESS_KEY_ID="testing",
    AWS_SECRET_ACCESS_KEY="testing",  # noqa: S106
)
import boto3
from sagemaker.core import shapes
from sagemaker.core.config.config_manager import SageMakerConfig
from sagemaker.core.parameter import (
    CategoricalParameter,
    ContinuousParameter,
    IntegerParameter,
)
from sagemaker.core.processing import Processor
from sagemaker.core.workflow import functions, parameters
from sagemaker.core.workflow.conditions import (
    ConditionGreaterThanOrEqualTo,
    ConditionLessThanOrEqualTo,
)
from sagemaker.core.workflow.execution_variables import ExecutionVariables
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.core.workflow.properties import PropertyFile
from sagemaker.mlops.workflow import steps
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.fail_step import FailStep
from sagemaker.mlops.workflow.model_step import ModelStep
from sagemaker.mlops.workflow.pipeline import Pipeline as SdkPipeline
from sagemaker.mlops.workflow.retry import (
    SageMakerJobExceptionTypeEnum,
    SageMakerJobStepRetryPolicy,
)
from sagemaker.mlops.workflow.steps import CacheConfig, ProcessingStep, TrainingStep, TuningStep
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData
from sagemaker.train.tuner import HyperparameterTuner

# The SDK validates its configuration at every look-up, 20 s in all; a session does it once.
SageMakerConfig.validate_sagemaker_config = staticmethod(lambda config: None)  # noqa: ARG005
# Each processing step makes boto3 clients to learn the name of a method; one will do.
_client = steps.LocalSagemakerClient()
steps.LocalSagemakerClient = lambda: _client
logging.getLogger("sagemaker").setLevel(logging.ERROR)
TELEMETRY_OFF = {
    "SchemaVersion": "1.0",
    "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
}
_CONDITIONS = {
    "GreaterThanOrEqualTo": ConditionGreaterThanOrEqualTo,
    "LessThanOrEqualTo": ConditionLessThanOrEqualTo,
}
_PARAMETERS = {
    "string": parameters.ParameterString,
    "integer": parameters.ParameterInteger,
    "number": parameters.ParameterFloat,
}
_LAYOUT = Layout(Path(OPT_ML))


def offline_session(**options: Any) -> PipelineSession:
    boto = boto3.Session(region_name="us-east-1")
    return PipelineSession(boto_session=boto, default_bucket="bucket", **options)


class Witness:
    """Builds the SDK's pipeline from our graph."""

    def __init__(self, pipeline: Pipeline, settings: Settings) -> None:
        self.pipeline, self.settings = pipeline, settings
        self.session = offline_session(sagemaker_config=TELEMETRY_OFF)
        self.steps: dict[str, Any] = {}
        self.files: dict[str, Any] = {}
        self.parameters = {p.name: _parameter(p) for p in pipeline.parameters}

    def build(self) -> SdkPipeline:
        trunk = [self.step(task) for task in self.pipeline.trunk]
        forks = [self.fork(fork) for fork in self.pipeline.conditions]
        return SdkPipeline(
            name=self.pipeline.name,
            parameters=list(self.parameters.values()),
            steps=trunk + forks,
            sagemaker_session=self.session,
        )

    def native(self, value: Any) -> Any:  # noqa: PLR0911 - one return a kind
        """Return a value in the SDK's objects."""
        if isinstance(value, Parameter):
            return self.parameters[value.name]
        if isinstance(value, Artifact) and value.place is not None:
            tuning = next(s for s in self.pipeline.tasks if s.name == value.task.name)
            return self.steps[tuning.name].get_top_model_s3_uri(0, tuning.bucket, tuning.prefix)
        if isinstance(value, Artifact):
            properties = self.steps[value.task.name].properties
            if value.task.spec.kind == "training":
                return properties.ModelArtifacts.S3ModelArtifacts
            return properties.ProcessingOutputConfig.Outputs[value.port.name].S3Output.S3Uri
        if isinstance(value, Join):
            return functions.Join(on=value.on, values=[self.native(v) for v in value.values])
        if isinstance(value, Property):
            return getattr(self.steps[value.step].properties, value.path)
        if isinstance(value, ExecutionVariable):
            return {"PipelineExecutionId": ExecutionVariables.PIPELINE_EXECUTION_ID}[value.name]
        if isinstance(value, JsonGet):
            file = self.files[value.property_file]
            return functions.JsonGet(value.step, property_file=file, json_path=value.path)
        assert not isinstance(value, Expression), value
        if isinstance(value, dict):
            return {key: self.native(item) for key, item in value.items()}
        return [self.native(item) for item in value] if isinstance(value, list) else value

    def fork(self, fork: Condition) -> ConditionStep:
        return ConditionStep(
            name=fork.name,
            conditions=[
                _CONDITIONS[c.type](left=self.native(c.left), right=self.native(c.right))
                for c in fork.comparisons
            ],
            if_steps=[self.step(step) for step in fork.then],
            else_steps=[self.step(step) for step in fork.otherwise],
        )

    def step(self, step: Task | Tuning | RegisterModel | Fail) -> Any:
        if isinstance(step, Fail):
            return FailStep(name=step.name, error_message=self.native(step.message))
        if isinstance(step, RegisterModel):
            self.session.init_model_step_arguments(self)
            request = self.native(dict(step.request))
            name = "create_model_package_from_containers"
            arguments = self.session._intercept_create_request(request, None, name)
            return ModelStep(name=step.name, step_args=arguments)
        if isinstance(step, Tuning):
            self.steps[step.name] = self.tuning(step)
            return self.steps[step.name]
        make = self.training if step.spec.kind == "training" else self.processing
        self.steps[step.name] = make(step)
        return self.steps[step.name]

    @property
    def sagemaker_session(self) -> PipelineSession:
        return self.session  # ModelStep asks the model it registers

    def processing(self, task: Task) -> ProcessingStep:
        resources = task.spec.resources
        processor = Processor(
            role=self.settings.role,
            image_uri=image_uri(task.spec, self.settings),
            instance_count=self.native(task.instance_count),
            instance_type=self.native(task.instance_type),
            entrypoint=list(task.spec.container.command),
            volume_size_in_gb=resources.volume_size_gb,
            max_runtime_in_seconds=resources.max_runtime_s,
            sagemaker_session=self.session,
        )
        arguments = processor.run(
            inputs=[self.processing_input(task, name) for name in task.artifacts],
            outputs=[self.processing_output(task, port) for port in task.spec.outputs.values()],
            arguments=self.native(compiler.container_arguments(task)),
        )
        files = [
            PropertyFile(f["PropertyFileName"], f["OutputName"], f["FilePath"])
            for f in compiler.property_files(task, self.pipeline)
        ]
        self.files |= {file.name: file for file in files}
        return ProcessingStep(task.name, arguments, property_files=files, **_about(task))

    def processing_input(self, task: Task, name: str) -> shapes.ProcessingInput:
        source = shapes.ProcessingS3Input(
            s3_uri=self.native(task.artifacts[name]),
            local_path=str(_LAYOUT.input_dir(task.spec, task.spec.input(name))),
            s3_data_type="S3Prefix",
            s3_input_mode="File",
            s3_data_distribution_type="FullyReplicated",
        )
        return shapes.ProcessingInput(input_name=name, s3_input=source)

    def processing_output(self, task: Task, port: Any) -> shapes.ProcessingOutput:
        uri = compiler.output_uri(task, port, self.pipeline, self.settings)
        target = shapes.ProcessingS3Output(
            s3_uri=self.native(uri),
            local_path=str(_LAYOUT.output_dir(task.spec, port)),
            s3_upload_mode="EndOfJob",
        )
        return shapes.ProcessingOutput(output_name=port.name, s3_output=target)

    def training(self, task: Task) -> TrainingStep:
        base = f"s3://{self.settings.bucket}/{self.pipeline.name}"
        trainer = self.trainer(task)
        trainer.with_metric_definitions(
            [shapes.MetricDefinition(name=n, regex=r) for n, r in task.spec.metrics.items()]
        ).with_tensorboard_output_config(
            shapes.TensorBoardOutputConfig(
                s3_output_path=f"{base}/tensorboard", local_path=f"{OPT_ML}/output/tensorboard"
            )
        )
        train = trainer.train(input_data_config=self.channels(task))
        return TrainingStep(task.name, train, **_about(task))

    def tuning(self, tuning: Tuning) -> TuningStep:
        task = tuning.task
        trainer = self.trainer(task)
        trainer.environment = {LOGS_VARIABLE: PACKED_LOGS}
        tuner = _Tuner(
            trainer,
            objective_metric_name=self.native(tuning.objective),
            hyperparameter_ranges=_ranges(tuning.space),
            metric_definitions=[{"Name": n, "Regex": r} for n, r in task.spec.metrics.items()],
            max_jobs=self.native(tuning.trials),
            max_parallel_jobs=self.native(tuning.parallel),
            early_stopping_type="Auto",
            random_seed=self.native(tuning.random_seed),
        )
        step_args = tuner.tune(inputs=list(map(_channel, self.channels(task))), wait=False)
        return TuningStep(tuning.name, step_args, **_about(task))

    def channels(self, task: Task) -> list[InputData]:
        return [
            InputData(channel_name=name, data_source=self.native(artifact))
            for name, artifact in task.artifacts.items()
        ]

    def trainer(self, task: Task) -> ModelTrainer:
        resources = task.spec.resources
        base = f"s3://{self.settings.bucket}/{self.pipeline.name}"
        checkpoints = functions.Join(
            values=[f"{base}/checkpoints/", ExecutionVariables.PIPELINE_EXECUTION_ID]
        )
        return ModelTrainer(
            sagemaker_session=self.session,
            role=self.settings.role,
            training_image=image_uri(task.spec, self.settings),
            compute=Compute(
                instance_type=self.native(task.instance_type),
                instance_count=self.native(task.instance_count),
                volume_size_in_gb=resources.volume_size_gb,
                enable_managed_spot_training=resources.spot,
            ),
            stopping_condition=shapes.StoppingCondition(
                max_runtime_in_seconds=resources.max_runtime_s,
                max_wait_time_in_seconds=2 * resources.max_runtime_s,
            ),
            output_data_config=shapes.OutputDataConfig(s3_output_path=f"{base}/training"),
            checkpoint_config=shapes.CheckpointConfig(
                s3_uri=checkpoints, local_path=f"{OPT_ML}/checkpoints"
            ),
            hyperparameters={
                name: self.native(compiler.hyperparameter(v)) for name, v in task.parameters.items()
            },
        )


def _about(task: Task) -> dict[str, Any]:
    policy = compiler.RETRY_POLICY
    retry = SageMakerJobStepRetryPolicy(
        exception_types=[
            SageMakerJobExceptionTypeEnum.INTERNAL_ERROR,
            SageMakerJobExceptionTypeEnum.CAPACITY_ERROR,
        ],
        backoff_rate=policy["BackoffRate"],
        interval_seconds=policy["IntervalSeconds"],
        max_attempts=policy["MaxAttempts"],
    )
    cache = CacheConfig(enable_caching=True, expire_after=compiler.CACHE_DAYS)
    return {
        "display_name": task.name,
        "description": task.spec.description,
        "retry_policies": [retry],
        "cache_config": cache if task.artifacts else None,
    }


def _channel(data: InputData) -> shapes.Channel:
    """Return what ModelTrainer makes of a channel; the tuner leaves the input mode out."""
    source = shapes.S3DataSource(
        s3_data_type="S3Prefix",
        s3_uri=data.data_source,
        s3_data_distribution_type="FullyReplicated",
    )
    where = shapes.DataSource(s3_data_source=source)
    return shapes.Channel(channel_name=data.channel_name, data_source=where, input_mode="File")


class _Tuner(HyperparameterTuner):
    """The SDK's, whose shapes refuse the pipeline variables that its signature takes (3.27)."""

    def _build_tuning_job_config(self) -> Any:
        asked = {"max_jobs": self.max_jobs, "max_parallel_jobs": self.max_parallel_jobs}
        self.max_jobs = self.max_parallel_jobs = 1
        try:
            config = super()._build_tuning_job_config()
        finally:
            self.max_jobs, self.max_parallel_jobs = asked.values()
        config.resource_limits = shapes.ResourceLimits.model_construct(
            max_number_of_training_jobs=self.max_jobs,
            max_parallel_training_jobs=self.max_parallel_jobs,
        )
        return config


def _ranges(space: SearchSpace) -> dict[str, Any]:
    """Return a search space in the SDK's objects."""
    found: dict[str, Any] = {c.name: CategoricalParameter(list(c.values)) for c in space.choices}
    for is_integer, kind in ((True, IntegerParameter), (False, ContinuousParameter)):
        for entry in space.ranges(is_integer):
            scaling = "Logarithmic" if entry.scale == "log" else "Linear"
            as_type = int if is_integer else float
            found[entry.name] = kind(as_type(entry.low), as_type(entry.high), scaling)
    return found


def _parameter(parameter: Parameter) -> Any:
    enum = {"enum_values": list(parameter.port.enum)} if parameter.port.enum else {}
    kind = _PARAMETERS[parameter.port.type]
    return kind(name=parameter.name, default_value=parameter.default, **enum)
