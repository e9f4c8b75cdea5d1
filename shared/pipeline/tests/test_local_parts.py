"""The local backend's small parts: parameters, references, scheduling, store, display."""

from __future__ import annotations

import errno
import io
import threading
from pathlib import Path
from typing import Any

import pytest

from shared.component.errors import UsageError
from shared.component.spec import load_spec
from shared.pipeline.backends.interpreter import Interpreter, Node, check_references, nodes_of
from shared.pipeline.backends.resolve import Scope, parameter_values
from shared.pipeline.backends.store import Store
from shared.pipeline.display import LineDisplay, Progress, table
from shared.pipeline.dsl import load_components
from shared.pipeline.errors import DefinitionError, JobError
from shared.pipeline.execution import Execution, StepRecord
from shared.pipeline.images import code_hash, component_of
from shared.pipeline.settings import REPOSITORY
from shared.pipeline.tests.conftest import Workshop

DECLARED = [
    {"Name": "Epochs", "Type": "Integer", "DefaultValue": 3},
    {"Name": "Rate", "Type": "Float", "DefaultValue": 0},
    {"Name": "Flag", "Type": "Boolean", "DefaultValue": False},
    {"Name": "Mode", "Type": "String", "DefaultValue": "a", "EnumValues": ["a", "b"]},
    {"Name": "Must", "Type": "String"},
]


def test_parameters_take_their_types() -> None:
    values = parameter_values(DECLARED, {"Must": "x", "Epochs": "7", "Flag": "true"})
    assert values == {"Epochs": 7, "Rate": 0.0, "Flag": True, "Mode": "a", "Must": "x"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"Epochs": "2.5", "Must": ""}, "it takes Integer"),
        ({"Rate": "inf", "Must": ""}, "it takes Float"),
        ({"Flag": "yes", "Must": ""}, "it takes Boolean"),
        ({"Mode": "c", "Must": ""}, "choose one of a, b"),
        ({"Modes": "a", "Must": ""}, "did you mean 'Mode'"),
        ({}, "'Must' has no value"),
    ],
)
def test_impossible_parameters_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parameter_values(DECLARED, given)


def scope() -> Scope:
    properties = {"A": {"Outputs": [{"OutputName": "out", "S3Output": {"S3Uri": "s3://b/k"}}]}}
    made = Scope({"N": 3, "F": True}, {"PipelineName": "p"}, lambda uri: {"uri": [uri]})
    made.properties.update(properties)
    return made


def test_references_and_joins_resolve() -> None:
    output = {"Get": "Steps.A.Outputs['out'].S3Output.S3Uri"}
    values = [{"Get": "Parameters.N"}, {"Get": "Parameters.F"}, {"Get": "Execution.PipelineName"}]
    join = {"Std:Join": {"On": "/", "Values": [output, *values]}}
    assert scope().resolve({"x": [join]}) == {"x": ["s3://b/k/3/true/p"]}


def test_json_get_reads_an_s3_uri_or_a_property_file() -> None:
    get = {"Std:JsonGet": {"S3Uri": "s3://b/file.json", "Path": "uri[0]"}}
    assert scope().resolve(get) == "s3://b/file.json"


@pytest.mark.parametrize(
    "reference", ["Parameters.X", "Steps.B.Outputs", "Steps.A.Nothing", "Execution.Nothing"]
)
def test_a_reference_to_nothing_is_named(reference: str) -> None:
    with pytest.raises(DefinitionError, match=reference.rpartition(".")[2]):
        scope().resolve({"Get": reference})


def test_a_string_is_no_number_to_compare() -> None:
    condition = {"Type": "GreaterThan", "LeftValue": "1", "RightValue": {"Get": "Parameters.N"}}
    with pytest.raises(DefinitionError, match="GreaterThan cannot compare '1' with 3"):
        scope().holds(condition)


def job(name: str, *after: Any) -> dict[str, Any]:
    return {"Name": name, "Type": "Processing", "Arguments": {}, "DependsOn": list(after)}


def run(steps: list[dict[str, Any]], failing: str = "", cores: int = 2) -> Execution:
    def run_step(node: Node, record: StepRecord, threads: int) -> dict[str, Any]:
        if node.name == failing:
            raise JobError(f"{node.name} failed")
        return {}

    execution = Execution("p", "arn/e")
    stop = threading.Event()
    Interpreter({"Steps": steps}, execution, scope(), run_step, lambda: None, stop, cores).run()
    return execution


def statuses(execution: Execution) -> dict[str, str]:
    return {step.name: step.status for step in execution.steps.values()}


def test_a_failure_stops_what_depends_on_it_and_nothing_else() -> None:
    execution = run([job("A"), job("B", "A"), job("C"), job("D", "C"), job("E", "B", "D")], "A")
    expected = {"A": "Failed", "B": "NotExecuted", "C": "Succeeded", "D": "Succeeded"}
    assert statuses(execution) == expected | {"E": "NotExecuted"}
    assert (execution.status, execution.reason) == ("Failed", "A failed")


def test_a_full_disk_fails_the_step_in_one_line() -> None:
    def run_step(node: Node, record: StepRecord, threads: int) -> dict[str, Any]:
        raise OSError(errno.ENOSPC, "No space left on device", "/somewhere")

    execution, stop = Execution("p", "arn/e"), threading.Event()
    steps = {"Steps": [job("A")]}
    Interpreter(steps, execution, scope(), run_step, lambda: None, stop, 1).run()
    assert execution.reason == "A: No space left on device: /somewhere"


def test_an_error_of_ours_stops_the_jobs() -> None:
    def run_step(node: Node, record: StepRecord, threads: int) -> dict[str, Any]:
        raise ZeroDivisionError

    stop, steps = threading.Event(), {"Steps": [job("A")]}
    made = Interpreter(steps, Execution("p", "arn/e"), scope(), run_step, lambda: None, stop, 1)
    with pytest.raises(ZeroDivisionError):
        made.run()
    assert stop.is_set()


def test_a_step_may_wait_for_a_failure() -> None:
    notify = job("Notify", {"Step": "A", "Trigger": "Failed"})
    assert statuses(run([job("A"), notify], "A"))["Notify"] == "Succeeded"
    assert statuses(run([job("A"), notify]))["Notify"] == "NotExecuted"


def test_independent_branches_run_at_the_same_time() -> None:
    meeting = threading.Barrier(2, timeout=10)  # broken unless both are there at once

    def run_step(node: Node, record: StepRecord, threads: int) -> dict[str, Any]:
        meeting.wait()
        return {"Threads": threads}

    execution, stop = Execution("p", "arn/e"), threading.Event()
    steps = {"Steps": [job("A"), job("B")]}
    Interpreter(steps, execution, here := scope(), run_step, lambda: None, stop, 4).run()
    assert execution.status == "Succeeded"
    assert here.properties["A"] == {"Threads": 2}  # four cores for two steps


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([job("A"), job("A")], "two steps are named 'A'"),
        ([job("A", "B")], "'A' refers to unknown 'B'"),
        ([job("A", "B"), job("B", "A")], "steps wait for each other: A, B"),
    ],
)
def test_a_definition_that_cannot_end_is_refused(steps: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        check_references(nodes_of({"Steps": steps}))


def test_the_store_keeps_to_its_folder(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.path("s3://bucket/a/b/") == tmp_path / "bucket" / "a" / "b"
    assert store.uri(tmp_path / "bucket" / "a") == "s3://bucket/a"
    for uri in ("s3://bucket/../../etc", "/etc/passwd", "s3://"):
        with pytest.raises(DefinitionError, match="not an S3 location"):
            store.path(uri)


def test_publishing_replaces_the_whole_folder(tmp_path: Path) -> None:
    store = Store(tmp_path / "s3")
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
        store.publish(tmp_path / name, "s3://bucket/out")
    assert [path.name for path in (tmp_path / "s3" / "bucket").rglob("*")] == ["out", "new"]


def test_lines_tell_changes_once_and_progress_now_and_then(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    step = StepRecord("Train", "Training", "Executing", "2026-01-01T00:00:00+00:00", log=str(log))
    execution = Execution("p", "arn/e", steps={"Train": step})
    now_s, out = [0.0], io.StringIO()
    components = load_components(REPOSITORY / "components")
    display = LineDisplay(Progress(components), out, lambda: now_s[0])
    for epoch in range(1, 5):
        log.write_text(
            "x" * epoch * 100 + f"\nprogress={epoch}/9 unit=epochs epoch={epoch} val_f1=0.5"
        )
        display.show(execution)
        now_s[0] += 3.0
    step.status, step.end = "Succeeded", "2026-01-01T00:00:12+00:00"
    display.show(execution)
    assert out.getvalue().splitlines() == [
        "Train: Executing",
        "Train: 2/9 epochs epoch=2 val_f1=0.5",
        "Train: 4/9 epochs epoch=4 val_f1=0.5",
        "Train: Succeeded in 12.0 s (4/9 epochs epoch=4 val_f1=0.5)",
    ]


def test_the_table_has_a_row_a_step() -> None:
    from rich.console import Console

    failed = StepRecord("Train", "Training", "Failed", reason="the data are bad")
    steps = {"Fetch": StepRecord("Fetch", "Processing", cached_from="arn"), "Train": failed}
    console = Console(file=io.StringIO(), width=100)
    console.print(table(Execution("p", "arn/e", steps=steps)))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "cached" in text
    assert "the data are bad" in text


def test_an_images_hash_is_of_what_goes_into_it(workshop: Workshop) -> None:
    spec = load_spec(workshop.root / "components" / "train")
    folder = workshop.root / "components" / "train"
    before = code_hash(spec, workshop.root)
    (folder / "README.md").write_text("words")
    (folder / "tests").mkdir()
    (folder / "tests" / "test_train.py").write_text("assert True")
    (workshop.root / "components" / "evaluate" / "component.py").write_text("changed")
    assert code_hash(spec, workshop.root) == before
    (folder / "component.py").write_text("changed")
    assert code_hash(spec, workshop.root) != before


@pytest.mark.parametrize("tag", ["", ":0123456789abcdef", "@sha256:00", ":5000"])
def test_an_image_uri_names_its_component(tag: str) -> None:
    assert component_of(f"127.0.0.1:5000/visionloop/fetch_data{tag}") == "fetch_data"
