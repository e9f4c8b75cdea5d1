"""defaults.yaml: what a search has found becomes the parameters' defaults, or is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.component.errors import SpecError
from shared.component.spec import load_spec
from shared.pipeline.defaults import adopt, load_defaults
from shared.pipeline.settings import REPOSITORY
from shared.pipeline.tests.conftest import Workshop

COMPONENTS = {"train": load_spec(REPOSITORY / "components" / "train")}
GOOD = "defaults: {train.learning_rate: 0.003, train.model_name: resnet18}\n"
FROM = "provenance: {study: abc, date: '2030-01-02T03:04:05+00:00', trials: {complete: 9}}\n"


def test_a_default_is_typed_and_knows_where_it_is_from(tmp_path: Path) -> None:
    path = tmp_path / "defaults.yaml"
    path.write_text(GOOD + FROM)
    found = load_defaults(path, COMPONENTS)
    assert found.values == {"train.learning_rate": 0.003, "train.model_name": "resnet18"}
    assert found.origin == "defaults.yaml, search abc of 2030-01-02"
    assert found.provenance["trials"] == {"complete": 9}


@pytest.mark.parametrize("text", [None, "", "# nothing\n"])
def test_no_file_and_an_empty_one_hold_none(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "defaults.yaml"
    if text is not None:
        path.write_text(text)
    assert load_defaults(path, COMPONENTS).values == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("defaults: {train.learning_rat: 1}", "'train.learning_rat': train has no parameter"),
        ("defaults: {trian.learning_rate: 1}", "no component 'trian'; did you mean 'train'?"),
        ("defaults: {learning_rate: 1}", "write component.port"),
        ("defaults: {train.learning_rate: 11}", "'learning_rate' is 11.0; the most is 10"),
        ("defaults: {train.epochs: few}", "takes a whole number, not 'few'"),
        ("defaults: {train.epochs: [1]}", "[1] is no value"),
        ("defaults: {train.dataset: here}", "has no parameter 'dataset'"),
        ("default: {}", "unknown section 'default'; did you mean 'defaults'?"),
        ("defaults: [a]", "are mappings"),
        ("- a", "holds no mapping"),
        ("a: [", "is no YAML"),
    ],
)
def test_a_wrong_file_is_named_with_its_entry(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "defaults.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        load_defaults(path, COMPONENTS)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_nothing_is_adopted_that_would_be_refused(tmp_path: Path) -> None:
    source, target = tmp_path / "found.yaml", tmp_path / "defaults.yaml"
    target.write_text(GOOD)
    for text in ("defaults: {train.epochs: 0}", "defaults: {}"):
        source.write_text(text)
        with pytest.raises(SpecError, match=r"found\.yaml"):
            adopt(source, target, COMPONENTS)
    with pytest.raises(SpecError, match=r"none\.yaml is missing"):
        adopt(tmp_path / "none.yaml", target, COMPONENTS)
    assert target.read_text() == GOOD


def test_the_pipeline_takes_its_defaults_from_there_and_says_so(
    workshop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    (workshop.root / "defaults.yaml").write_text(GOOD + FROM)
    with pytest.raises(SystemExit):
        workshop.run("--help")
    said = capsys.readouterr().out
    assert "(default: resnet18, from defaults.yaml, search abc of 2030-01-02)" in said
    assert "(default: 25; from 1)" in said
    _, out = workshop.run("--definition")
    assert '"DefaultValue": 0.003' in out


def test_a_default_that_no_parameter_takes_is_refused(
    workshop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    (workshop.root / "defaults.yaml").write_text("defaults: {train.mixup: 0.2}")
    assert workshop.run("--definition")[0] == 1
    said = capsys.readouterr().err
    assert "defaults.yaml: entry 'train.mixup': no pipeline parameter has its default" in said


def test_a_search_is_adopted_by_its_execution(
    workshop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("Trials=2", "ParallelTrials=1", "Epochs=2", "TrainDataset=sample://one")
    status, out = workshop.tune(*[w for word in words for w in ("-p", word)])
    assert status == 0, out
    (command,) = [line for line in out.splitlines() if line.startswith("adopt them")]
    assert "trials         2: 2 complete, 0 pruned, 0 failed" in out
    assert "gates" not in out
    arguments = command.partition("pipeline.py ")[2].split()
    status, out = workshop.run(*arguments)
    assert status == 0
    assert "train.model_name        mobilenetv3_small_050" in out
    assert (workshop.root / "defaults.yaml").read_text().startswith("defaults:")
    assert workshop.run("--backend", "local", "--adopt", "nosuch")[0] == 1
    assert "no execution 'nosuch' of 'visionloop-tune'" in capsys.readouterr().err


def test_what_is_searched_is_not_given(
    workshop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    assert workshop.tune("-p", "LearningRate=0.1")[0] == 2
    said = capsys.readouterr().err
    assert "parameter 'LearningRate' is searched over: take it out of " in said
    assert said.count("\n") == 1
    assert workshop.run("--also", "batch_size", "--definition")[0] == 2
    assert "add --tune" in capsys.readouterr().err
