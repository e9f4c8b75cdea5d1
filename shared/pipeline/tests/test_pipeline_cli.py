"""The command line's words and exit statuses."""

from __future__ import annotations

import subprocess
import sys

import pytest

import pipeline
from shared.component.port import ParameterValue
from shared.pipeline.cli import parse_parameters
from shared.pipeline.settings import REPOSITORY, Settings
from shared.pipeline.tests.conftest import Workshop


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("Epoch=3", "no parameter 'Epoch'; did you mean 'Epochs'?"),
        ("Epochs", "'Epochs' is no parameter; write -p Name=value"),
        ("Epochs=many", "parameter 'Epochs' takes a whole number, not 'many'"),
        ("Epochs=0", "parameter 'Epochs' is 0; the least is 1"),
        ("MinAccuracy=nan", "parameter 'MinAccuracy' takes a number, not 'nan'"),
        ("ApprovalStatus=Maybe", "choose one of PendingManualApproval, Approved, Rejected"),
    ],
)
def test_a_wrong_parameter_is_one_line_and_status_2(
    workshop: Workshop, capsys: pytest.CaptureFixture[str], word: str, message: str
) -> None:
    status, out = workshop.start("-p", word)
    error = capsys.readouterr().err
    assert (status, out) == (2, "")
    assert message in error
    assert error.count("\n") == 1


def test_relative_paths_become_absolute_and_words_stay(workshop: Workshop) -> None:
    graph = pipeline.build(Settings())
    words = ["TrainDataset=components", "Augmentations=medium", "Model=components"]
    values: dict[str, ParameterValue] = parse_parameters(graph, words, workshop.root)
    assert values["TrainDataset"] == str(workshop.root / "components")
    assert values["Augmentations"] == "medium"
    assert values["Model"] == "components"


def test_help_lists_the_parameters_and_imports_nothing_slow() -> None:
    code = (
        "import sys, pipeline\n"
        "from shared.pipeline import cli\n"
        "from shared.pipeline.settings import Settings\n"
        "print(cli.parser(pipeline.build(Settings())).format_help())\n"
        "print({'sagemaker', 'boto3', 'rich', 'torch'} & set(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert (
        "  Epochs              Passes over the training split. (default: 25; from 1)" in done.stdout
    )
    assert done.stdout.endswith("set()\n")


def test_nothing_to_do_is_wrong_use(workshop: Workshop, capsys: pytest.CaptureFixture[str]) -> None:
    status, _ = workshop.run("--backend", "local")
    assert status == 2
    assert "--upsert --start" in capsys.readouterr().err


def test_starting_what_was_never_upserted_names_the_remedy(
    workshop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _ = workshop.run("--start", "--backend", "local")
    assert status == 1
    assert "add --upsert" in capsys.readouterr().err


def test_an_unknown_execution_is_named(
    workshop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _ = workshop.run("--backend", "local", "--describe", "nosuch")
    assert status == 1
    assert "no execution 'nosuch' of 'visionloop'; see --list" in capsys.readouterr().err
