"""A search space is one file, held against the ports of train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import pipeline
from shared.component.errors import SpecError, UsageError
from shared.component.spec import load_spec
from shared.pipeline.compiler import parameter_ranges
from shared.pipeline.dsl import Pipeline, load_components
from shared.pipeline.search_space import DEFAULT_SPACE, Space, load_space
from shared.pipeline.settings import REPOSITORY, Settings

TRAIN = load_spec(REPOSITORY / "components" / "train")


def _file(folder: Path, **sections: Any) -> Path:
    path = folder / "space.yaml"
    path.write_text(yaml.safe_dump(sections))
    return path


def test_the_space_that_is_shipped_is_about_train_and_its_options_are_off() -> None:
    path = REPOSITORY / DEFAULT_SPACE
    assert set(load_space(path, TRAIN).entries) == {"model_name", "optimizer", "learning_rate"}
    also = ("batch_size", "weight_decay", "augmentations")
    wide = load_space(path, TRAIN, also)
    assert set(also) < wide.entries.keys()
    for choices in wide.choices:  # what one had before is in the space
        default = TRAIN.parameters[choices.name].default
        assert str(default) in choices.values
    for entry in [*wide.ranges(is_integer=True), *wide.ranges(is_integer=False)]:
        default = TRAIN.parameters[entry.name].default
        assert entry.low <= float(default or 0) <= entry.high


def test_all_that_sagemaker_gets_are_strings(tmp_path: Path) -> None:
    searched = {
        "batch_size": {"choices": [8, 16]},
        "onnx": {"choices": [True, False]},
        "epochs": {"low": 2, "high": 9},
        "learning_rate": {"low": 0.00001, "high": 1, "scale": "log"},
    }
    ranges = parameter_ranges(load_space(_file(tmp_path, searched=searched), TRAIN))
    assert ranges == {
        "CategoricalParameterRanges": [
            {"Name": "batch_size", "Values": ["8", "16"]},
            {"Name": "onnx", "Values": ["true", "false"]},
        ],
        "IntegerParameterRanges": [
            {"Name": "epochs", "MinValue": "2", "MaxValue": "9", "ScalingType": "Linear"}
        ],
        "ContinuousParameterRanges": [
            {
                "Name": "learning_rate",
                "MinValue": "1e-05",
                "MaxValue": "1.0",
                "ScalingType": "Logarithmic",
            }
        ],
    }


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("learning_rat", {"low": 1, "high": 2}, "did you mean 'learning_rate'?"),
        ("dataset", {"choices": ["a", "b"]}, "train has no parameter of that name"),
        ("batch_size", {"choices": [1, 8]}, "'batch_size' is 1; the least is 2"),
        ("batch_size", {"choices": ["many", 8]}, "takes a whole number, not 'many'"),
        ("batch_size", {"choices": [8]}, "1 choices; give from 2 to 30"),
        ("batch_size", {"choices": [8, 8]}, "a list of different values"),
        ("batch_size", {"choices": 8}, "a list of different values"),
        ("batch_size", {"chioces": [8, 16]}, "unknown key 'chioces'"),
        ("batch_size", [8, 16], "give {choices: [...]} or {low: ..., high: ..., scale: log}"),
        ("schedule", {"low": 0, "high": 1}, "it takes string, which has no range"),
        ("learning_rate", {"low": 0.1}, "'high' is missing"),
        ("learning_rate", {"low": 0.1, "high": 0.1}, "low must be the lesser"),
        ("learning_rate", {"low": 0.1, "high": 11}, "'learning_rate' is 11.0; the most is 10"),
        ("learning_rate", {"low": 0.1, "high": 1, "scale": "lin"}, "choose one of linear, log"),
        ("weight_decay", {"low": 0, "high": 1, "scale": "log"}, "begins above 0"),
        ("precision", {"choices": ["auto", "8-bit"]}, "choose one of auto"),
    ],
)
@pytest.mark.parametrize("section", ["searched", "options"])
def test_a_wrong_entry_is_named_with_file_and_remedy(
    tmp_path: Path, section: str, name: str, body: Any, message: str
) -> None:
    sections = {"searched": {"optimizer": {"choices": ["adamw", "sgd"]}}}
    sections[section] = {name: body}
    path = _file(tmp_path, **sections)
    with pytest.raises(SpecError) as caught:
        load_space(path, TRAIN)
    assert str(caught.value).startswith(f"{path}: entry '{name}'")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("searched: {}", "'searched' is empty"),
        ("search: {}", "unknown section 'search'; did you mean 'searched'?"),
        ("- a", "holds no mapping"),
        ("searched: [a]", "'searched' holds no mapping"),
        ("a: [", "is no YAML"),
    ],
)
def test_a_file_that_is_no_space_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=r"space\.yaml") as caught:
        load_space(path, TRAIN)
    assert message in str(caught.value)


def test_a_missing_file_names_the_flag(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="is missing; pass --space"):
        load_space(tmp_path / "none.yaml", TRAIN)


def test_an_option_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no option 'batchsize'; did you mean 'batch_size'\?"):
        load_space(REPOSITORY / DEFAULT_SPACE, TRAIN, ("batchsize",))


def test_what_could_not_become_a_default_is_not_searched(tmp_path: Path) -> None:
    path = _file(tmp_path, searched={"mixup": {"low": 0, "high": 1}})
    with pytest.raises(SpecError, match=r"entry 'mixup': no pipeline parameter stands for it"):
        pipeline.build_search(Settings(), space=Space(path))


def test_the_graph_refuses_what_a_search_cannot_be(tmp_path: Path) -> None:
    graph = Pipeline("test", load_components(REPOSITORY / "components"))
    space = load_space(REPOSITORY / DEFAULT_SPACE, TRAIN)
    limits = {"trials": 3, "parallel": 1, "random_seed": 0, "bucket": "bucket"}
    raw = graph.task("fetch_data")
    data = graph.task("preprocess", raw=raw["raw"])["dataset"]
    with pytest.raises(SpecError, match="input 'optimizer' is given, and searched"):
        graph.tuning("train", space, objective="val_f1", dataset=data, optimizer="sgd", **limits)
    with pytest.raises(SpecError, match=r"objective 'val_f2' is no metric of it; did you mean"):
        graph.tuning("train", space, objective="val_f2", dataset=data, **limits)
    with pytest.raises(SpecError, match="over a training component, not processing"):
        graph.tuning("evaluate", space, objective="val_f1", **limits)
    with pytest.raises(SpecError, match=r"train: input 'dataset' .* is not connected"):
        graph.tuning("train", space, objective="val_f1", **limits)
