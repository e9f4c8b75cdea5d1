"""visionloop's pipeline: from images to a registered, explained classifier.

    python pipeline.py --upsert --start --backend local     run it on this machine
    python pipeline.py --upsert --start --backend docker    the same in the components' images
    python pipeline.py --upsert --start                     run it on SageMaker
    python pipeline.py --definition                         print what SageMaker gets
    python pipeline.py --help                               every parameter and default
    python pipeline.py --tune -p Trials=20                  search for better defaults

fetch_data -> preprocess -> train -> evaluate ----> [gates passed?] -> register
                              |  \\-> explain  /
                              \\---> fit_detector
fetch_data -> preprocess -> search (trials of train) -> evaluate (the best) -> tune -> defaults.yaml
"""

from __future__ import annotations

from shared.pipeline import cli
from shared.pipeline.defaults import load_defaults
from shared.pipeline.dsl import Pipeline, load_components
from shared.pipeline.expressions import ExecutionVariable, Join, JsonGet, Value, at_least, at_most
from shared.pipeline.graph import Artifact, Fail, Inputs, Step, Task
from shared.pipeline.model_package import register_model
from shared.pipeline.search_space import Space
from shared.pipeline.settings import SEARCH_SUFFIX, Settings

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
    "WeightDecay": "train.weight_decay",
    "Augmentations": "train.augmentations",
    "MinAccuracy": "evaluate.min_accuracy",
    "MinMacroF1": "evaluate.min_macro_f1",
    "MinClassRecall": "evaluate.min_class_recall",
    "MaxRegression": "evaluate.max_regression",
    "Champion": "evaluate.champion",
}


def build(settings: Settings, name: str = "visionloop") -> Pipeline:
    """Return the graph."""
    pipeline = empty(settings, name)
    declare_parameters(pipeline, settings, PARAMETERS, name)
    pipeline.parameter(
        "ApprovalStatus",
        type="string",
        default="PendingManualApproval",
        enum=("PendingManualApproval", "Approved", "Rejected"),
        description="Status a new model package starts with.",
    )
    pipeline.refuse_unused_defaults()

    data = prepare(pipeline)
    model = pipeline.task("train", dataset=data["dataset"], **training(pipeline))["model"]
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


def build_search(
    settings: Settings, name: str = "visionloop", space: Space | None = None
) -> Pipeline:
    """Return the graph that searches for better defaults, on the validation images alone.

    The test images, the same frozen ones, are looked at once: for the winner.
    """
    pipeline = empty(settings, name + SEARCH_SUFFIX)
    searched = (space or Space()).load(settings.root, pipeline.components["train"])
    parameters = {n: p for n, p in PARAMETERS.items() if not p.startswith("evaluate.")}
    pipeline.fixed_elsewhere = searched.taken_from(parameters)
    declare_parameters(pipeline, settings, parameters, name)
    declare_limits(pipeline)

    data = prepare(pipeline)
    search = pipeline.tuning(
        "train",
        searched,
        objective=pipeline["Objective"],
        trials=pipeline["Trials"],
        parallel=pipeline["ParallelTrials"],
        random_seed=pipeline["Seed"],
        bucket=settings.bucket,
        dataset=data["dataset"],
        onnx=False,  # ten seconds a trial for a file that nobody will serve
        **training(pipeline),
    )
    evaluation = pipeline.task(
        "evaluate",
        dataset=data["dataset"],
        model=search.best["model"],
        robustness_images=16,  # looked at closely when it is trained for good
        attack_images=8,
        min_accuracy=0.0,  # there is no gate to pass
        min_macro_f1=0.0,
        min_class_recall=0.0,
        seed=pipeline["Seed"],
    )
    pipeline.task(
        "tune",
        trials=search.record,
        dataset=data["dataset"],
        metrics=evaluation["metrics"],
    )
    return pipeline


def declare_limits(pipeline: Pipeline) -> None:
    pipeline.parameter(
        "Objective",
        type="string",
        default="val_f1",
        enum=("val_f1", "val_accuracy"),
        description="What the search makes as large as it can: macro F1 or accuracy of validation.",
    )
    trials = "Trainings in all; the local backend goes on where there were fewer."
    pipeline.parameter("Trials", type="integer", default=20, minimum=1, description=trials)
    parallel = "Trainings at the same time; the local backend takes no more than there are cores."
    pipeline.parameter("ParallelTrials", type="integer", default=2, minimum=1, description=parallel)


def empty(settings: Settings, name: str) -> Pipeline:
    components = load_components(settings.root / "components")
    return Pipeline(name, components, load_defaults(settings.defaults_file, components))


def declare_parameters(
    pipeline: Pipeline, settings: Settings, ports: dict[str, str], name: str
) -> None:
    """Declare parameters by their ports, and those that stand for more than one.

    name: of the problem, whose frozen test set all pipelines share.
    """
    for parameter, port in ports.items():
        if parameter not in pipeline.fixed_elsewhere:
            pipeline.parameter(parameter, like=port)
    frozen_test = f"s3://{settings.bucket}/{name}/frozen-test"
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


def prepare(pipeline: Pipeline) -> Task:
    raw = pipeline.task(
        "fetch_data",
        train=pipeline["TrainDataset"],
        test=pipeline["TestDataset"],
        annotations=pipeline["Annotations"],
    )
    return pipeline.task(
        "preprocess",
        raw=raw["raw"],
        annotations=raw["labels"],
        frozen_test=pipeline["FrozenTest"],
        image_size=pipeline["ImageSize"],
        seed=pipeline["Seed"],
        locations={"frozen": pipeline["FrozenTest"]},
    )


def training(pipeline: Pipeline) -> Inputs:
    """Return what every training is given beside its data: ports of train, seed, machines."""
    given = {
        port.removeprefix("train."): pipeline[name]
        for name, port in PARAMETERS.items()
        if port.startswith("train.") and name not in pipeline.fixed_elsewhere
    }
    machines = {"instance_type": "TrainInstanceType", "instance_count": "TrainInstanceCount"}
    return given | {
        "seed": pipeline["Seed"],
        **{name: pipeline[parameter] for name, parameter in machines.items()},
    }


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
    raise SystemExit(cli.main(build, build_search=build_search))
