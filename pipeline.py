"""visionloop's pipeline: from images to a registered, explained classifier.

    python pipeline.py --upsert --start --backend local     run it on this machine
    python pipeline.py --upsert --start --backend docker    the same in the components' images
    python pipeline.py --upsert --start                     run it on SageMaker
    python pipeline.py --definition                         print what SageMaker gets
    python pipeline.py --help                               every parameter and default

fetch_data -> preprocess -> train -> evaluate ----> [gates passed?] -> register
                              |  \\-> explain  /
                              \\---> fit_detector
"""

from __future__ import annotations

from shared.pipeline import cli
from shared.pipeline.dsl import Artifact, Fail, Pipeline, Step, Task, load_components
from shared.pipeline.expressions import ExecutionVariable, Join, JsonGet, Value, at_least, at_most
from shared.pipeline.model_package import register_model
from shared.pipeline.settings import Settings

# Pipeline parameters and the component port each stands for: type, default, limits and
# description are written once, in component.yaml.
PARAMETERS = {
    "TrainDataset": "fetch_data.train",
    "TestDataset": "fetch_data.test",
    "Annotations": "fetch_data.annotations",
    "ImageSize": "train.image_size",
    "Model": "train.model_name",
    "PretrainedWeights": "train.pretrained",
    "Epochs": "train.epochs",
    "BatchSize": "train.batch_size",
    "Optimizer": "train.optimizer",
    "LearningRate": "train.learning_rate",
    "Augmentations": "train.augmentations",
    "MinAccuracy": "evaluate.min_accuracy",
    "MinMacroF1": "evaluate.min_macro_f1",
    "MinClassRecall": "evaluate.min_class_recall",
    "MaxRegression": "evaluate.max_regression",
    "Champion": "evaluate.champion",
}


def build(settings: Settings, name: str = "visionloop") -> Pipeline:
    """Return the graph."""
    pipeline = Pipeline(name, load_components(settings.root / "components"))
    declare_parameters(pipeline, settings)

    raw = pipeline.task(
        "fetch_data",
        train=pipeline["TrainDataset"],
        test=pipeline["TestDataset"],
        annotations=pipeline["Annotations"],
    )
    data = pipeline.task(
        "preprocess",
        raw=raw["raw"],
        annotations=raw["labels"],
        frozen_test=pipeline["FrozenTest"],
        image_size=pipeline["ImageSize"],
        seed=pipeline["Seed"],
        locations={"frozen": pipeline["FrozenTest"]},
    )
    model = train(pipeline, data["dataset"])
    evaluation = evaluate(pipeline, data["dataset"], model)
    seed = pipeline["Seed"]
    explanation = pipeline.task("explain", dataset=data["dataset"], model=model, seed=seed)
    detector = pipeline.task("fit_detector", dataset=data["dataset"], model=model, seed=seed)

    pipeline.condition(
        "GatesPassed",
        [
            at_least(metric(evaluation, "accuracy"), pipeline["MinAccuracy"]),
            at_least(metric(evaluation, "macro_f1"), pipeline["MinMacroF1"]),
            at_least(metric(evaluation, "min_class_recall"), pipeline["MinClassRecall"]),
            at_most(metric(evaluation, "regression"), pipeline["MaxRegression"]),
        ],
        then=register(pipeline, settings, data, model, evaluation, explanation, detector),
        otherwise=[gates_failed(pipeline, evaluation)],
    )
    return pipeline


def declare_parameters(pipeline: Pipeline, settings: Settings) -> None:
    for name, port in PARAMETERS.items():
        pipeline.parameter(name, like=port)
    frozen_test = f"s3://{settings.bucket}/{pipeline.name}/frozen-test"
    pipeline.parameter("FrozenTest", like="preprocess.frozen_test", default=frozen_test)
    pipeline.parameter("Seed", like="train.seed", description="Seed of splits, weights, samples.")
    resources = pipeline.components["train"].resources
    pipeline.parameter(
        "TrainInstanceType",
        type="string",
        default=resources.instance_type,
        description="Machine of the training job; only SageMaker heeds it.",
    )
    pipeline.parameter(
        "TrainInstanceCount",
        type="integer",
        default=resources.instance_count,
        minimum=1,
        description="Machines of the training job; the local backend runs one.",
    )
    pipeline.parameter(
        "ApprovalStatus",
        type="string",
        default="PendingManualApproval",
        enum=("PendingManualApproval", "Approved", "Rejected"),
        description="Status a new model package starts with.",
    )


def train(pipeline: Pipeline, dataset: Artifact) -> Artifact:
    task = pipeline.task(
        "train",
        dataset=dataset,
        model_name=pipeline["Model"],
        pretrained=pipeline["PretrainedWeights"],
        image_size=pipeline["ImageSize"],
        epochs=pipeline["Epochs"],
        batch_size=pipeline["BatchSize"],
        optimizer=pipeline["Optimizer"],
        learning_rate=pipeline["LearningRate"],
        augmentations=pipeline["Augmentations"],
        seed=pipeline["Seed"],
        instance_type=pipeline["TrainInstanceType"],
        instance_count=pipeline["TrainInstanceCount"],
    )
    return task["model"]


def evaluate(pipeline: Pipeline, dataset: Artifact, model: Artifact) -> Task:
    return pipeline.task(
        "evaluate",
        dataset=dataset,
        model=model,
        champion=pipeline["Champion"],
        min_accuracy=pipeline["MinAccuracy"],
        min_macro_f1=pipeline["MinMacroF1"],
        min_class_recall=pipeline["MinClassRecall"],
        max_regression=pipeline["MaxRegression"],
        seed=pipeline["Seed"],
    )


def metric(evaluation: Task, name: str) -> JsonGet:
    return evaluation["metrics"].json("evaluation.json", f"metrics.{name}")


def register(
    pipeline: Pipeline,
    settings: Settings,
    data: Task,
    model: Artifact,
    evaluation: Task,
    explanation: Task,
    detector: Task,
) -> list[Step]:
    """Return the branch of a model that passed: pack what the registry is told, tell it."""
    registered = pipeline.task(
        "register",
        dataset=data["dataset"],
        model=model,
        detector=detector["detector"],
        metrics=evaluation["metrics"],
        data_report=data["report"],
        evaluation_report=evaluation["report"],
        explanation_report=explanation["report"],
        drift_report=detector["report"],
        seed=pipeline["Seed"],
    )
    metadata: dict[str, Value] = {
        "report": Join([registered["report"], "index.html"], on="/"),
        "dataset": data["dataset"],
        "execution": ExecutionVariable("PipelineExecutionId"),
    }
    package = register_model(
        pipeline.name,
        package=registered["package"],
        report=registered["report"],
        approval_status=pipeline["ApprovalStatus"],
        settings=settings,
        metadata=metadata,
    )
    return [registered, package]


def gates_failed(pipeline: Pipeline, evaluation: Task) -> Fail:
    """Return the branch of a model that did not: say what was asked and where the figures are."""
    words: list[Value] = ["A gate failed: accuracy >= ", pipeline["MinAccuracy"]]
    words += [", macro F1 >= ", pipeline["MinMacroF1"]]
    words += [", recall of every class >= ", pipeline["MinClassRecall"]]
    words += [", accuracy lost against the champion <= ", pipeline["MaxRegression"]]
    words += ["; the measured values are in ", evaluation["report"]]
    return Fail("GatesFailed", Join(words))


if __name__ == "__main__":
    raise SystemExit(cli.main(build))
