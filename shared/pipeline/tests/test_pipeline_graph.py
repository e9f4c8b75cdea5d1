"""The graph refuses what cannot work, naming component, port and the nearest right name."""

from __future__ import annotations

import pytest

from shared.component.errors import SpecError, UsageError
from shared.pipeline.dsl import Pipeline, load_components
from shared.pipeline.settings import REPOSITORY


@pytest.fixture
def graph() -> Pipeline:
    return Pipeline("test", load_components(REPOSITORY / "components"))


def test_an_unknown_component_is_named(graph: Pipeline) -> None:
    with pytest.raises(SpecError, match=r"no component 'trian'; did you mean 'train'\?"):
        graph.task("trian")


def test_an_unknown_input_is_named(graph: Pipeline) -> None:
    with pytest.raises(
        SpecError, match=r"'fetch_data' has no input 'tran'; did you mean 'train'\?"
    ):
        graph.task("fetch_data", tran="sample://scenes")


def test_an_unknown_output_is_named(graph: Pipeline) -> None:
    task = graph.task("fetch_data")
    with pytest.raises(SpecError, match="'fetch_data' has no output 'row'; did you mean 'raw'"):
        task["row"]


def test_a_wrong_artifact_names_the_fitting_output(graph: Pipeline) -> None:
    fetched = graph.task("fetch_data")
    message = (
        "preprocess: input 'raw' takes RawImages, not Annotations .* did you mean 'fetch_data.raw'"
    )
    with pytest.raises(SpecError, match=message):
        graph.task("preprocess", raw=fetched["labels"])


def test_a_missing_input_is_named(graph: Pipeline) -> None:
    with pytest.raises(SpecError, match=r"preprocess: input 'raw' .* is not connected"):
        graph.task("preprocess")


def test_an_artifact_is_no_constant(graph: Pipeline) -> None:
    with pytest.raises(SpecError, match="preprocess: input 'raw' takes the artifact RawImages"):
        graph.task("preprocess", raw="s3://bucket/raw")


def test_a_constant_outside_the_limits_is_refused(graph: Pipeline) -> None:
    with pytest.raises(SpecError, match=r"'max_download_gb' is 0\.0; the least is 0\.001"):
        graph.task("fetch_data", max_download_gb=0)


def test_a_parameter_of_another_type_is_refused(graph: Pipeline) -> None:
    epochs = graph.parameter("Rate", like="train.learning_rate")
    raw = graph.task("fetch_data")
    data = graph.task("preprocess", raw=raw["raw"])
    with pytest.raises(
        SpecError, match="'epochs' takes integer, pipeline parameter 'Rate' is number"
    ):
        graph.task("train", dataset=data["dataset"], epochs=epochs)


def test_a_parameter_shares_default_and_limits_with_its_port(graph: Pipeline) -> None:
    epochs = graph.parameter("Epochs", like="train.epochs", default=3)
    assert (epochs.default, epochs.port.minimum) == (3, 1)
    with pytest.raises(UsageError, match="parameter 'Epochs' is 0; the least is 1"):
        epochs.parse("0")


def test_a_parameter_is_declared_once(graph: Pipeline) -> None:
    graph.parameter("Seed", like="train.seed")
    with pytest.raises(SpecError, match="'Seed' is declared twice"):
        graph.parameter("Seed", like="train.seed")


def test_an_unknown_parameter_is_named(graph: Pipeline) -> None:
    graph.parameter("Seed", like="train.seed")
    with pytest.raises(SpecError, match=r"no parameter 'Sead'; did you mean 'Seed'\?"):
        graph["Sead"]
