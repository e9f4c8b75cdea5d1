"""visionloop's pipeline: from images to a registered, explained classifier.

    python pipeline.py --upsert --start --backend local     run it on this machine
    python pipeline.py --upsert --start                     run it on SageMaker
    python pipeline.py --definition                         print what SageMaker gets
    python pipeline.py --help                               every parameter and default

fetch_data -> preprocess -> train -> evaluate ----> [gates passed?] -> register
                              |  \\-> explain  /
                              \\---> fit_detector
"""

from __future__ import annotations

from shared.pipeline import cli
from shared.pipeline.dsl import Artifact, Fail, Parameter, Pipeline, load_components
from shared.pipeline.expressions import (
    Comparison,
    ExecutionVariable,
    Join,
    JsonGet,
    at_least,
    at_most,
)
from shared.pipeline.model_package import register_model
from shared.pipeline.settings import Settings


def build(settings: Settings, name: str = "visionloop") -> Pipeline:
    """Return the graph; defaults stand in the components' component.yaml."""
    pipeline = Pipeline(name, load_components(settings.root / "components"))
    new = pipeline.parameter

    train_dataset = new("TrainDataset", like="fetch_data.train")
    test_dataset = new("TestDataset", like="fetch_data.test")
    annotations = new("Annotations", like="fetch_data.annotations")
    frozen_test = new(
        "FrozenTest",
        like="preprocess.frozen_test",
        default=f"s3://{settings.bucket}/{name}/frozen-test",
    )
    image_size = new("ImageSize", like="train.image_size")
    seed = new("Seed", like="train.seed", description="Seed of splits, weights and samples.")

    model = new("Model", like="train.model_name")
    weights = new("PretrainedWeights", like="train.pretrained")
    epochs = new("Epochs", like="train.epochs")
    batch_size = new("BatchSize", like="train.batch_size")
    optimizer = new("Optimizer", like="train.optimizer")
    learning_rate = new("LearningRate", like="train.learning_rate")
    augmentations = new("Augmentations", like="train.augmentations")
    resources = pipeline.components["train"].resources
    instance_type = new(
        "TrainInstanceType",
        type="string",
        default=resources.instance_type,
        description="Machine of the training job; only SageMaker heeds it.",
    )
    instance_count = new(
        "TrainInstanceCount",
        type="integer",
        default=resources.instance_count,
        minimum=1,
        description="Machines of the training job; the local backend runs one.",
    )

    gates = {
        "min_accuracy": new("MinAccuracy", like="evaluate.min_accuracy"),
        "min_macro_f1": new("MinMacroF1", like="evaluate.min_macro_f1"),
        "min_class_recall": new("MinClassRecall", like="evaluate.min_class_recall"),
        "max_regression": new("MaxRegression", like="evaluate.max_regression"),
    }
    champion = new("Champion", like="evaluate.champion")
    approval = new(
        "ApprovalStatus",
        type="string",
        default="PendingManualApproval",
        enum=("PendingManualApproval", "Approved", "Rejected"),
        description="Status a new model package starts with.",
    )

    raw = pipeline.task(
        "fetch_data", train=train_dataset, test=test_dataset, annotations=annotations
    )
    data = pipeline.task(
        "preprocess",
        raw=raw["raw"],
        annotations=raw["labels"],
        frozen_test=frozen_test,
        image_size=image_size,
        seed=seed,
        locations={"frozen": frozen_test},
    )
    trained = pipeline.task(
        "train",
        dataset=data["dataset"],
        model_name=model,
        pretrained=weights,
        image_size=image_size,
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        learning_rate=learning_rate,
        augmentations=augmentations,
        seed=seed,
        instance_type=instance_type,
        instance_count=instance_count,
    )
    # What the last four tasks have in common.
    inputs = {"dataset": data["dataset"], "model": trained["model"], "seed": seed}
    evaluation = pipeline.task("evaluate", **inputs, **gates, champion=champion)
    explanation = pipeline.task("explain", **inputs)
    detector = pipeline.task("fit_detector", **inputs)

    registered = pipeline.branch_task(
        "register",
        **inputs,
        detector=detector["detector"],
        metrics=evaluation["metrics"],
        data_report=data["report"],
        evaluation_report=evaluation["report"],
        explanation_report=explanation["report"],
        drift_report=detector["report"],
    )
    package = register_model(
        name,
        package=registered["package"],
        report=registered["report"],
        approval_status=approval,
        settings=settings,
        metadata={
            "report": Join([registered["report"], "index.html"], on="/"),
            "dataset": data["dataset"],
            "execution": ExecutionVariable("PipelineExecutionId"),
        },
    )
    pipeline.condition(
        "GatesPassed",
        comparisons(evaluation["metrics"], gates),
        then=[registered, package],
        otherwise=[Fail("GatesFailed", failure(evaluation["report"], gates))],
    )
    return pipeline


def comparisons(metrics: Artifact, gates: dict[str, Parameter]) -> list[Comparison]:
    """Return what has to hold before a model is registered."""

    def metric(name: str) -> JsonGet:
        return metrics.json("evaluation.json", f"metrics.{name}")

    return [
        at_least(metric("accuracy"), gates["min_accuracy"]),
        at_least(metric("macro_f1"), gates["min_macro_f1"]),
        at_least(metric("min_class_recall"), gates["min_class_recall"]),
        at_most(metric("regression"), gates["max_regression"]),
    ]


def failure(report: Artifact, gates: dict[str, Parameter]) -> Join:
    """Return what the execution says when a gate stopped it."""
    return Join(
        [
            "A gate failed: accuracy >= ",
            gates["min_accuracy"],
            ", macro F1 >= ",
            gates["min_macro_f1"],
            ", recall of every class >= ",
            gates["min_class_recall"],
            ", accuracy lost against the champion <= ",
            gates["max_regression"],
            "; the measured values are in ",
            report,
        ]
    )


if __name__ == "__main__":
    raise SystemExit(cli.main(build))
