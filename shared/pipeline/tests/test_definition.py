r"""The definition: pinned, valid for the service's own shapes, every parameter used.

Look at what changed in the golden file, and if it is meant:
    python pipeline.py --definition | sed -E 's#(visionloop/[a-z_]+):[0-9a-f]{16}#\1:TAG#' \
        > tests/golden/definition.json
and of the search, with --tune, > tests/golden/search.json.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

import pipeline
from shared.pipeline.backends.interpreter import nodes_of
from shared.pipeline.backends.resolve import Scope, parameter_values
from shared.pipeline.compiler import definition
from shared.pipeline.dsl import Pipeline
from shared.pipeline.search_space import Space
from shared.pipeline.settings import REPOSITORY, Settings

GOLDEN = REPOSITORY / "tests" / "golden"
# Whatever a search has found on this machine: the defaults are component.yaml's.
SETTINGS = Settings(explicit_defaults=os.devnull)
OPERATIONS = {
    "Processing": ("CreateProcessingJob", {"ProcessingJobName": "job"}),
    "Training": ("CreateTrainingJob", {"TrainingJobName": "job"}),
    "Tuning": ("CreateHyperParameterTuningJob", {"HyperParameterTuningJobName": "job"}),
    "RegisterModel": ("CreateModelPackage", {}),
}


def build_wide_search(settings: Settings) -> Pipeline:
    """Return the search over all that its space offers."""
    options = ("batch_size", "weight_decay", "augmentations")
    return pipeline.build_search(settings, space=Space(also=options))


@pytest.fixture(scope="module")
def text() -> str:
    return definition(pipeline.build(SETTINGS), SETTINGS)


@pytest.fixture(scope="module")
def search() -> str:
    return definition(pipeline.build_search(SETTINGS), SETTINGS)


def normalised(text: str) -> str:
    """Code changes often, the structure rarely: image tags are left out."""
    return re.sub(r"(/visionloop/\w+):[0-9a-f]{16}", r"\1:TAG", text)


def test_is_the_golden_definition(text: str, search: str) -> None:
    remedy = "the definition changed; the first lines of this test's file say what to do"
    for made, name in ((text, "definition"), (search, "search")):
        golden = json.loads((GOLDEN / f"{name}.json").read_text())
        assert json.loads(normalised(made)) == golden, remedy


def test_the_same_graph_gives_the_same_bytes(text: str, search: str) -> None:
    assert definition(pipeline.build(SETTINGS), SETTINGS) == text
    assert definition(pipeline.build_search(SETTINGS), SETTINGS) == search


def test_the_command_line_prints_it_without_an_account() -> None:
    command = [sys.executable, "pipeline.py", "--definition"]
    done = subprocess.run(
        command, cwd=REPOSITORY, env={"PATH": ""}, capture_output=True, text=True, check=True
    )
    document = json.loads(done.stdout)
    assert [step["Name"] for step in document["Steps"]] == [
        *["FetchData", "Preprocess", "Train", "Evaluate", "Explain", "FitDetector"],
        "GatesPassed",
    ]


@pytest.mark.parametrize("made", ["text", "search"])
def test_every_parameter_reaches_a_step_argument(made: str, request: pytest.FixtureRequest) -> None:
    document = json.loads(request.getfixturevalue(made))
    used = {get.removeprefix("Parameters.") for get in _gets(document["Steps"])}
    assert {parameter["Name"] for parameter in document["Parameters"]} <= used


@pytest.mark.parametrize(("made", "jobs"), [("text", 8), ("search", 5), ("wide", 5)])
def test_every_resolved_request_has_the_shape_of_the_service(
    made: str, jobs: int, request: pytest.FixtureRequest
) -> None:
    model = botocore.session.get_session().get_service_model("sagemaker")
    wide = definition(build_wide_search(SETTINGS), SETTINGS)
    document = json.loads(wide if made == "wide" else request.getfixturevalue(made))
    checked = []
    for node in nodes_of(document):
        if node.type not in OPERATIONS:
            continue
        operation, name = OPERATIONS[node.type]
        request = resolved(document, node.body["Arguments"]) | name
        shape = model.operation_model(operation).input_shape
        report = ParamValidator().validate(request, shape)
        assert not report.has_errors(), f"{node.name}: {report.generate_report()}"
        checked.append(node.name)
    assert len(checked) == jobs


def test_hyperparameters_are_strings(text: str) -> None:
    document = json.loads(text)
    train = next(step for step in document["Steps"] if step["Name"] == "Train")
    request = resolved(document, train["Arguments"])
    assert request["HyperParameters"]["epochs"] == "25"
    assert all(isinstance(value, str) for value in request["HyperParameters"].values())


def test_a_source_is_never_answered_from_the_services_cache(text: str) -> None:
    cached = {step["Name"]: "CacheConfig" in step for step in json.loads(text)["Steps"]}
    assert not cached["FetchData"]
    assert cached["Preprocess"]
    assert cached["Train"]


@pytest.mark.filterwarnings("ignore")  # the SDK's own
@pytest.mark.parametrize("build", [pipeline.build, pipeline.build_search, build_wide_search])
def test_is_what_the_sagemaker_sdk_writes(build: Callable[[Settings], Pipeline]) -> None:
    from shared.pipeline.tests.sdk_witness import Witness

    sdk = json.loads(Witness(build(SETTINGS), SETTINGS).build().definition())
    assert sdk.pop("MlflowConfig") is None  # a null that the service need not see
    assert json.loads(definition(build(SETTINGS), SETTINGS)) == sdk


def test_a_trial_is_given_what_a_training_is_but_for_what_is_searched(search: str) -> None:
    document = json.loads(search)
    (step,) = (step for step in document["Steps"] if step["Type"] == "Tuning")
    request = resolved(document, step["Arguments"])
    fixed = request["TrainingJobDefinition"]["StaticHyperParameters"]
    assert fixed["seed"] == "0"
    assert fixed["epochs"] == "25"
    ranges = request["HyperParameterTuningJobConfig"]["ParameterRanges"]
    searched = {entry["Name"] for kind in ranges.values() for entry in kind}
    assert searched == {"model_name", "optimizer", "learning_rate"}
    assert not searched & fixed.keys()
    declared = {parameter["Name"] for parameter in document["Parameters"]}
    assert not declared & {"Model", "Optimizer", "LearningRate"}


def resolved(document: dict[str, Any], arguments: dict[str, Any]) -> Any:
    """Resolve arguments as at run time, with stand-ins for what jobs would answer."""
    values = parameter_values(document["Parameters"], {})
    scope = Scope(values, {"PipelineExecutionId": "execution"}, dict)
    for node in nodes_of(document):
        outputs = node.body["Arguments"].get("ProcessingOutputConfig", {}).get("Outputs", [])
        scope.properties[node.name] = {
            "ModelArtifacts": {"S3ModelArtifacts": "s3://bucket/model.tar.gz"},
            "HyperParameterTuningJobName": "job",
            "TrainingJobSummaries": [{"TrainingJobName": "best"}],
            "ProcessingOutputConfig": {
                "Outputs": [o | {"S3Output": {"S3Uri": "s3://bucket/key"}} for o in outputs]
            },
        }
    return scope.resolve(arguments)


def _gets(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _gets(item)
    elif isinstance(node, dict):
        if isinstance(node.get("Get"), str):
            yield node["Get"]
        for value in node.values():
            yield from _gets(value)


def test_golden_file_names_no_account() -> None:
    for path in GOLDEN.glob("*.json"):
        assert set(re.findall(r"\b\d{12}\b", path.read_text())) == {"000000000000"}
