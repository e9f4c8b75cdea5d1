"""The tree under /opt/ml, as the platform lays it out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.component.layout import (
    BASE_DIR_VARIABLE,
    LOGS_VARIABLE,
    PACKED_LOGS,
    Instance,
    Layout,
)
from shared.component.port import Port
from shared.component.spec import load_spec
from shared.component.tests.factories import MakeFolder

MODEL, LOGS = Port("model", "Model", "M."), Port("logs", "Metrics", "L.")


def test_processing_keeps_inputs_and_outputs_by_port(component: MakeFolder) -> None:
    spec, layout = load_spec(component()), Layout(Path("ml"))
    assert layout.input_dir(spec, spec.input("flock")) == Path("ml/processing/input/flock")
    assert layout.output_dir(spec, spec.output("tally")) == Path("ml/processing/output/tally")
    assert layout.explanation_file(spec) == Path("ml/output/message")


def test_training_has_places_of_its_own(component: MakeFolder) -> None:
    spec, layout = load_spec(component(kind="training")), Layout(Path("ml"))
    assert layout.input_dir(spec, spec.input("flock")) == Path("ml/input/data/flock")
    assert layout.output_dir(spec, MODEL) == Path("ml/model")
    assert layout.output_dir(spec, LOGS) == Path("ml/output/tensorboard")
    assert layout.output_dir(spec, spec.output("tally")) == Path("ml/output/data/tally")
    assert layout.explanation_file(spec) == Path("ml/output/failure")


def test_the_environment_moves_the_root() -> None:
    assert Layout.from_environ({}).base == Path("/opt/ml")
    assert Layout.from_environ({BASE_DIR_VARIABLE: "elsewhere"}).base == Path("elsewhere")


@pytest.mark.parametrize("where", ["config", "input/config"])
def test_a_machine_knows_its_place_among_several(tmp_path: Path, where: str) -> None:
    path = tmp_path / where / "resourceconfig.json"
    path.parent.mkdir(parents=True)
    # The platform promises no order; every machine must come to the same one.
    path.write_text(json.dumps({"current_host": "algo-2", "hosts": ["algo-3", "algo-2", "algo-1"]}))
    assert Layout(tmp_path).instance() == Instance(index=1, count=3, first_host="algo-1")


def test_without_the_platform_there_is_one_machine(tmp_path: Path) -> None:
    assert Layout(tmp_path).instance() == Instance(index=0, count=1)
    assert Layout(tmp_path).hyperparameters() == {}


def test_a_trainings_logs_go_where_they_are_told_to(component: MakeFolder) -> None:
    spec = load_spec(component(kind="training"))
    layout = Layout.from_environ({BASE_DIR_VARIABLE: "ml", LOGS_VARIABLE: PACKED_LOGS})
    assert layout.output_dir(spec, LOGS) == Path("ml/output/data/tensorboard")
    assert Layout.from_environ({}).output_dir(spec, LOGS) == Path("/opt/ml/output/tensorboard")
