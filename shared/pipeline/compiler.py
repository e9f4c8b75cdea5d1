"""Compile a graph into SageMaker's pipeline definition, the document CreatePipeline takes.

Written as plain JSON, because importing the SageMaker SDK takes longer than
`--definition` may (4.7 s of CPU on the 2-core reference machine, before the first
step). `sdk.py` builds the same pipeline from the SDK's own step objects, and a test
holds the two documents equal.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from shared.component.layout import LOGS_VARIABLE, OPT_ML, PACKED_LOGS, Layout
from shared.component.port import Port
from shared.pipeline.dsl import Pipeline
from shared.pipeline.expressions import ExecutionVariable, Expression, Join, Value, render
from shared.pipeline.graph import (
    TRAININGS,
    TYPE_NAMES,
    Condition,
    Fail,
    Parameter,
    RegisterModel,
    Step,
    Task,
    Tuning,
)
from shared.pipeline.images import image_uri
from shared.pipeline.search_space import Range, SearchSpace, as_text
from shared.pipeline.settings import Settings

Json = dict[str, Any]
VERSION = "2020-12-01"  # of the definition's schema; there is no other
# How long SageMaker's step cache may answer; images and data URIs are immutable.
CACHE_DAYS = "P30D"
# Faults of the platform are worth another attempt, errors of the algorithm never.
RETRY_POLICY: Json = {
    "BackoffRate": 2.0,
    "IntervalSeconds": 30,
    "MaxAttempts": 3,
    "ExceptionType": ["SageMaker.JOB_INTERNAL_ERROR", "SageMaker.CAPACITY_ERROR"],
}
_EXECUTION_ID = ExecutionVariable("PipelineExecutionId")
_LAYOUT = Layout(Path(OPT_ML))


def definition(pipeline: Pipeline, settings: Settings) -> str:
    """Return the definition; the same graph and settings give the same bytes."""
    return json.dumps(document(pipeline, settings), indent=1)


def document(pipeline: Pipeline, settings: Settings) -> Json:
    steps = [step_request(step, pipeline, settings) for step in pipeline.trunk]
    forks = [_condition(fork, pipeline, settings) for fork in pipeline.conditions]
    return {
        "Version": VERSION,
        "Metadata": {},
        "Parameters": [_parameter(parameter) for parameter in pipeline.parameters],
        "PipelineExperimentConfig": {
            "ExperimentName": {"Get": "Execution.PipelineName"},
            "TrialName": {"Get": "Execution.PipelineExecutionId"},
        },
        "Steps": steps + forks,
    }


def step_request(step: Step, pipeline: Pipeline, settings: Settings) -> Json:
    if isinstance(step, Fail):
        return {
            "Name": step.name,
            "Type": "Fail",
            "Arguments": {"ErrorMessage": render(step.message)},
        }
    if isinstance(step, RegisterModel):
        return {"Name": step.name, "Type": "RegisterModel", "Arguments": render(step.request)}
    if isinstance(step, Tuning):
        return _job(step.task, "Tuning", tuning_request(step, pipeline, settings), pipeline)
    if step.spec.kind == "training":
        return _job(step, "Training", training_request(step, pipeline, settings), pipeline)
    return _job(step, "Processing", processing_request(step, pipeline, settings), pipeline)


def _job(task: Task, kind: str, arguments: Json, pipeline: Pipeline) -> Json:
    request = {
        "Name": task.name,
        "Type": kind,
        "Arguments": render(arguments),
        "DisplayName": task.name,
        "Description": task.spec.description,
        "RetryPolicies": [RETRY_POLICY],
    }
    if task.artifacts:  # SageMaker compares a source's URI as text, not what it holds today
        request["CacheConfig"] = {"Enabled": True, "ExpireAfter": CACHE_DAYS}
    if files := property_files(task, pipeline):
        request["PropertyFiles"] = files
    return request


def processing_request(task: Task, pipeline: Pipeline, settings: Settings) -> Json:
    """Return the CreateProcessingJob request of a task, expressions included."""
    resources = task.spec.resources
    return {
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceType": task.instance_type,
                "InstanceCount": task.instance_count,
                "VolumeSizeInGB": resources.volume_size_gb,
            }
        },
        "AppSpecification": {
            "ImageUri": image_uri(task.spec, settings),
            "ContainerEntrypoint": list(task.spec.container.command),
            **({"ContainerArguments": container_arguments(task)} if task.parameters else {}),
        },
        "RoleArn": settings.role,
        **(
            {"ProcessingInputs": [_input(task, n) for n in task.artifacts]}
            if task.artifacts
            else {}
        ),
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": port.name,
                    "S3Output": {
                        "S3Uri": output_uri(task, port, pipeline, settings),
                        "LocalPath": str(_LAYOUT.output_dir(task.spec, port)),
                        "S3UploadMode": "EndOfJob",
                    },
                }
                for port in task.spec.outputs.values()
            ]
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": resources.max_runtime_s},
    }


def training_request(task: Task, pipeline: Pipeline, settings: Settings) -> Json:
    """Return the CreateTrainingJob request of a task, expressions included."""
    resources = task.spec.resources
    base = f"s3://{settings.bucket}/{pipeline.name}"
    stopping = {"MaxRuntimeInSeconds": resources.max_runtime_s}
    if resources.spot:  # waiting for capacity may take as long as the training itself
        stopping["MaxWaitTimeInSeconds"] = 2 * resources.max_runtime_s
    return {
        "AlgorithmSpecification": {
            "TrainingImage": image_uri(task.spec, settings),
            "TrainingInputMode": "File",
            "MetricDefinitions": [
                {"Name": name, "Regex": regex} for name, regex in task.spec.metrics.items()
            ],
        },
        "HyperParameters": {n: hyperparameter(value) for n, value in task.parameters.items()},
        "InputDataConfig": [_channel(task, name) for name in task.artifacts],
        "ResourceConfig": {
            "InstanceType": task.instance_type,
            "InstanceCount": task.instance_count,
            "VolumeSizeInGB": resources.volume_size_gb,
        },
        "RoleArn": settings.role,
        "StoppingCondition": stopping,
        "OutputDataConfig": {"S3OutputPath": f"{base}/{TRAININGS}"},
        # One place an execution: a checkpoint of another run must never be resumed.
        "CheckpointConfig": {
            "S3Uri": Join([f"{base}/checkpoints/", _EXECUTION_ID]),
            "LocalPath": str(_LAYOUT.checkpoints),
        },
        "EnableManagedSpotTraining": resources.spot,
        **_tensorboard(task, base),
        **_tracking(pipeline, settings),
    }


def tuning_request(tuning: Tuning, pipeline: Pipeline, settings: Settings) -> Json:
    """Return the CreateHyperParameterTuningJob request of a search, expressions included.

    Each trial is what `training_request` says, but that a tuning job's trainings have no
    TensorBoardOutputConfig: their logs go into output.tar.gz, beside model.tar.gz.
    """
    definition = training_request(tuning.task, pipeline, settings)
    definition["StaticHyperParameters"] = definition.pop("HyperParameters")
    if definition.pop("TensorBoardOutputConfig", None):
        environment = definition.setdefault("Environment", {})
        environment[LOGS_VARIABLE] = PACKED_LOGS
        if settings.tracking_uri:
            environment["MLFLOW_REGISTERED_MODEL"] = ""  # a trial is no version of the model
    return {
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {
                "Type": "Maximize",
                "MetricName": tuning.objective,
            },
            "ResourceLimits": {
                "MaxNumberOfTrainingJobs": tuning.trials,
                "MaxParallelTrainingJobs": tuning.parallel,
            },
            "ParameterRanges": parameter_ranges(tuning.space),
            "TrainingJobEarlyStoppingType": "Auto",
            "RandomSeed": tuning.random_seed,
        },
        "TrainingJobDefinition": definition,
    }


def parameter_ranges(space: SearchSpace) -> Json:
    """Return a search space as SageMaker writes it: all values are strings."""
    found = {
        "IntegerParameterRanges": [_range(entry) for entry in space.ranges(is_integer=True)],
        "ContinuousParameterRanges": [_range(entry) for entry in space.ranges(is_integer=False)],
        "CategoricalParameterRanges": [
            {"Name": entry.name, "Values": list(entry.values)} for entry in space.choices
        ],
    }
    return {kind: entries for kind, entries in found.items() if entries}


def _range(entry: Range) -> Json:
    as_type = int if entry.is_integer else float
    return {
        "Name": entry.name,
        "MinValue": str(as_type(entry.low)),
        "MaxValue": str(as_type(entry.high)),
        "ScalingType": "Logarithmic" if entry.scale == "log" else "Linear",
    }


def output_uri(task: Task, port: Port, pipeline: Pipeline, settings: Settings) -> Value:
    """Return the place of an output: its own in every execution, unless it has a fixed one."""
    base = f"s3://{settings.bucket}/{pipeline.name}"
    unique = Join([base, _EXECUTION_ID, task.name, port.name], on="/")
    return task.locations.get(port.name, unique)


def container_arguments(task: Task) -> list[Value]:
    """Return `--flag=value`: one word, so that a value may be empty or start with a dash."""
    flags = {name: task.spec.input(name).flag for name in task.parameters}
    return [Join([flags[name], value], on="=") for name, value in task.parameters.items()]


def property_files(task: Task, pipeline: Pipeline) -> list[Json]:
    reads = {get.property_file: get for get in pipeline.json_reads() if get.step == task.name}
    return [
        {"PropertyFileName": name, "OutputName": get.output, "FilePath": get.file}
        for name, get in reads.items()
    ]


def hyperparameter(value: Value) -> Value:
    """Return the value as the string a hyperparameter has to be."""
    if isinstance(value, Parameter):
        return value if value.port.type == "string" else Join([value])
    return value if isinstance(value, Expression) else as_text(value)


def _parameter(parameter: Parameter) -> Json:
    request: Json = {"Name": parameter.name, "Type": TYPE_NAMES[parameter.port.type]}
    request["DefaultValue"] = parameter.default
    if parameter.port.enum:
        request["EnumValues"] = list(parameter.port.enum)
    return request


def _condition(fork: Condition, pipeline: Pipeline, settings: Settings) -> Json:
    return {
        "Name": fork.name,
        "Type": "Condition",
        "Arguments": {
            "Conditions": [comparison.expr for comparison in fork.comparisons],
            "IfSteps": [step_request(step, pipeline, settings) for step in fork.then],
            "ElseSteps": [step_request(step, pipeline, settings) for step in fork.otherwise],
        },
    }


def _input(task: Task, name: str) -> Json:
    return {
        "InputName": name,
        "S3Input": {
            "S3Uri": task.artifacts[name].uri,
            "LocalPath": str(_LAYOUT.input_dir(task.spec, task.spec.input(name))),
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
            "S3DataDistributionType": "FullyReplicated",
            "S3CompressionType": "None",
        },
    }


def _channel(task: Task, name: str) -> Json:
    source = {
        "S3DataType": "S3Prefix",
        "S3Uri": task.artifacts[name].uri,
        "S3DataDistributionType": "FullyReplicated",
    }
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, "InputMode": "File"}


def _tensorboard(task: Task, base: str) -> Json:
    logs = [port for port in task.spec.outputs.values() if port.type == "Metrics"]
    if not logs:
        return {}
    return {
        "TensorBoardOutputConfig": {
            "S3OutputPath": f"{base}/tensorboard",
            "LocalPath": str(_LAYOUT.output_dir(task.spec, logs[0])),
        }
    }


def _tracking(pipeline: Pipeline, settings: Settings) -> Json:
    """Tell a training which MLflow it reports to, under the name of the problem."""
    if not settings.tracking_uri:
        return {}
    experiment = settings.experiment or pipeline.name
    names = {
        "MLFLOW_TRACKING_URI": settings.tracking_uri,
        "MLFLOW_EXPERIMENT_NAME": experiment,
    }
    return {"Environment": names}
