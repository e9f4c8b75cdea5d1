"""The runtime between a command line or /opt/ml and a component's `run`."""

from __future__ import annotations

import errno
import json
import logging
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.component.errors import InputError, VisionloopError
from shared.component.layout import BASE_DIR_VARIABLE
from shared.component.runtime import main
from shared.component.tests.factories import MakeFolder


@pytest.fixture(autouse=True)
def _process_state() -> Iterator[None]:
    """`main` is a process's edge: put back what it sets for its whole process."""
    terminate, levels = signal.getsignal(signal.SIGTERM), logging.getLogger("shared").level
    yield
    signal.signal(signal.SIGTERM, terminate)
    logging.getLogger("shared").setLevel(levels)


class Job:
    """One component on one /opt/ml tree; `received` is what run() was called with."""

    def __init__(self, folder: Path, base: Path, kind: str) -> None:
        self.folder, self.base = folder, base
        inputs = "input/data" if kind == "training" else "processing/input"
        self.flock = base / inputs / "flock"
        self.flock.mkdir(parents=True)
        (self.flock / "sheep.txt").touch()
        self.received: dict[str, Any] = {}

    def start(self, *argv: str, fails_with: Exception | None = None) -> int:
        def run(**values: Any) -> None:
            self.received = values
            if fails_with:
                raise fails_with

        return main(self.folder, argv, {BASE_DIR_VARIABLE: str(self.base)}, run)


@pytest.fixture
def job(component: MakeFolder, tmp_path: Path) -> Job:
    return Job(component(), tmp_path / "ml", "processing")


@pytest.fixture
def training_job(component: MakeFolder, tmp_path: Path) -> Job:
    job = Job(component(kind="training"), tmp_path / "ml", "training")
    config = job.base / "input/config/hyperparameters.json"
    config.parent.mkdir(parents=True)
    config.write_text(json.dumps({"jumps": "5", "asleep": "true", "unrelated": "1"}))
    return job


def test_run_gets_paths_and_typed_values(job: Job) -> None:
    assert job.start("--jumps", "4", "--height", "2") == 0
    tally = job.base / "processing/output/tally"
    assert job.received == {
        "flock": job.flock,
        "fence": None,  # optional, and nothing is mounted
        "jumps": 4,
        "height": 2.0,
        "asleep": False,
        "colour": "white",
        "tally": tally,
    }
    assert tally.is_dir()


def test_a_flag_beats_a_hyperparameter_beats_the_default(training_job: Job) -> None:
    assert training_job.start("train", "--asleep", "false") == 0
    assert training_job.received["asleep"] is False
    assert training_job.received["jumps"] == 5
    assert training_job.received["height"] == 0.5


def test_a_folder_given_as_a_flag_beats_the_platform(job: Job, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "sheep.txt").touch()
    assert job.start("--flock", str(other), "--tally", str(tmp_path / "new/tally")) == 0
    assert job.received["flock"] == other
    assert (tmp_path / "new/tally").is_dir()


def test_an_empty_input_names_port_place_and_remedy(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    (job.flock / "sheep.txt").unlink()
    assert job.start() == 1
    expected = (
        f"sheep: input 'flock' (Dataset) is empty: {job.flock}; "
        "pass --flock FOLDER or mount it there"
    )
    assert capsys.readouterr().err == f"error: {expected}\n"
    assert (job.base / "output/message").read_text() == expected
    assert job.received == {}


def test_an_optional_input_that_is_given_must_be_there(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    assert job.start("--fence", str(job.base / "nowhere")) == 1
    assert "input 'fence' (Annotations) is missing" in capsys.readouterr().err


def test_an_impossible_parameter_is_wrong_use(
    training_job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    assert training_job.start("train", "--jumps", "10") == 2
    assert capsys.readouterr().err == "error: sheep: parameter 'jumps' is 10; the most is 9\n"
    assert (training_job.base / "output/failure").read_text().startswith("sheep: parameter")


def test_a_misspelt_flag_is_wrong_use(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        job.start("--jump", "4")  # no abbreviations: a later flag would change their meaning
    assert end.value.code == 2
    assert "unrecognized arguments: --jump" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_stops_before_any_work(
    job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert job.start("--tally", str(tmp_path / "file/tally")) == 1
    message = capsys.readouterr().err
    assert f"cannot write output 'tally' to {tmp_path / 'file/tally'}: Not a directory" in message
    assert "; pass --tally with a folder that can be written" in message
    assert job.received == {}


class TooFewSheepError(VisionloopError):
    exit_status = 3


@pytest.mark.parametrize(
    ("err", "status"), [(InputError("sheep: lost"), 1), (TooFewSheepError("sheep: lost"), 3)]
)
def test_an_error_of_ours_is_one_line_with_its_own_status(
    job: Job, capsys: pytest.CaptureFixture[str], err: VisionloopError, status: int
) -> None:
    assert job.start(fails_with=err) == status
    assert capsys.readouterr().err == "error: sheep: lost\n"


def test_a_full_disk_says_what_to_do(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/data/shard")
    assert job.start(fails_with=full) == 1
    assert capsys.readouterr().err == (
        "error: sheep: No space left on device: /data/shard; "
        "free some space or mount a larger volume\n"
    )


def test_an_unexpected_error_leaves_the_trace_in_the_log_and_the_reason_with_the_platform(
    training_job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    assert training_job.start(fails_with=KeyError("x" * 2000)) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err
    reason = (training_job.base / "output/failure").read_text()
    assert "KeyError" in reason
    assert len(reason) <= 1024  # what SageMaker shows


def test_by_hand_no_tree_is_made_for_the_reason(job: Job, tmp_path: Path) -> None:
    job.base = tmp_path / "absent"
    assert job.start() == 1
    assert not job.base.exists()


def test_help_tells_every_port_its_limits_and_defaults(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        job.start("--help")
    text = " ".join(capsys.readouterr().out.split())
    assert end.value.code == 0
    assert "--jumps INTEGER Jumps a sheep. (default: 3; from 1; to 9)" in text
    assert "--asleep BOOLEAN Whether they sleep. (default: false)" in text
    assert "--fence FOLDER A fence, where there is one. (Annotations; optional)" in text
    assert "(default: white; one of white, black)" in text


@pytest.mark.parametrize(
    ("words", "done"),
    [([], "serve"), (["merge"], "merge"), (["--command", "merge"], "merge")],
)
def test_a_service_takes_its_command_as_the_first_word(
    words: list[str], done: str, tmp_path: Path
) -> None:
    folder = tmp_path / "clerk"
    folder.mkdir()
    (folder / "component.yaml").write_text(
        "name: clerk\ndescription: Does two things.\nkind: service\n"
        "inputs:\n  command: {type: string, default: serve, enum: [serve, merge], description: x}\n"
        "implementation: {container: {image: clerk, command: [clerk]}}\n"
    )
    seen: list[str] = []
    assert main(folder, words, {}, run=lambda *, command: seen.append(command)) == 0
    assert seen == [done]
