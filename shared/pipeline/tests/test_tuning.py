"""A search on this machine: real child processes, a train component that works by formula."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shared.pipeline.settings import REPOSITORY
from shared.pipeline.tests.conftest import FAKES, Workshop

pytestmark = pytest.mark.slow  # all together
TUNED = "visionloop-tune"


@dataclass(frozen=True)
class Bench:
    """A workshop whose trainings leave marks."""

    workshop: Workshop
    marks: Path

    def tune(self, trials: int, *arguments: str, **environ: str) -> tuple[int, str]:
        self.workshop.environ.update({"TEST_MISFORTUNE": ":"} | environ)
        words = [f"Trials={trials}", "ParallelTrials=1", "Epochs=4", "TrainDataset=sample://one"]
        return self.workshop.tune(*[w for word in words for w in ("-p", word)], *arguments)

    @property
    def begun(self) -> int:
        return len(list(self.marks.glob("begun-*")))

    def record(self) -> dict[str, Any]:
        """Return trials.json of the last search."""
        files = self.workshop.home.glob(f"s3/*/{TUNED}/training/*/trials.json")
        document: dict[str, Any] = json.loads(max(files, key=os.path.getmtime).read_text())
        return document

    def states(self) -> list[str]:
        return [trial["state"] for trial in self.record()["trials"]]

    def models(self) -> list[Path]:
        return list(self.workshop.home.glob(f"s3/*/{TUNED}/training/*/output/model.tar.gz"))


@pytest.fixture
def bench(workshop: Workshop, tmp_path: Path) -> Bench:
    fake = workshop.root / "components" / "train" / "component.py"
    shutil.copy(FAKES / "searched_train.py", fake)
    marks = tmp_path / "marks"
    marks.mkdir()
    workshop.environ["TEST_MARK"] = str(marks)
    return Bench(workshop, marks)


def test_the_best_by_validation_is_evaluated_alone_and_the_rest_is_removed(bench: Bench) -> None:
    status, out = bench.tune(8)
    assert status == 0, out
    record = bench.record()
    values = {t["number"]: t["value"] for t in record["trials"] if t["state"] == "complete"}
    assert values[record["best"]] == max(values.values())
    assert [path.parts[-3] for path in bench.models()] == [
        trial["job"] for trial in record["trials"] if trial["number"] == record["best"]
    ]
    home = bench.workshop.home
    assert len(list(home.glob(f"s3/*/{TUNED}/*/Evaluate/metrics"))) == 1
    logs = list(home.glob(f"s3/*/{TUNED}/tensorboard/*/tensorboard-output/*"))
    assert len(logs) == 8, "the curves of all trials stay"
    assert not list(home.glob("studies/*/checkpoints/*"))


def test_the_first_trial_is_what_one_had(bench: Bench) -> None:
    bench.tune(1)
    first = {"model_name": "mobilenetv3_small_050", "optimizer": "adamw", "learning_rate": "0.001"}
    assert bench.record()["trials"][0]["parameters"] == first


def test_a_finished_search_comes_from_the_cache_and_more_trials_go_on(bench: Bench) -> None:
    bench.tune(3)
    assert bench.begun == 3
    before = bench.record()["trials"]
    status, _ = bench.tune(3)
    assert (status, bench.begun) == (0, 3)
    assert bench.workshop.steps(TUNED)["Search"] == "cached"
    bench.tune(5)
    assert bench.begun == 5
    assert bench.record()["trials"][:3] == before
    assert bench.tune(4, "-p", "Seed=1")[0] == 0
    assert bench.begun == 9, "another seed is another search"


def test_the_same_seed_and_one_worker_give_the_same_trials(bench: Bench) -> None:
    bench.tune(8)
    one = [(t["parameters"], t["state"]) for t in bench.record()["trials"]]
    bench.tune(8, "--no-cache")
    assert bench.begun == 16
    assert [(t["parameters"], t["state"]) for t in bench.record()["trials"]] == one


def test_a_hopeless_trial_is_ended_early(bench: Bench) -> None:
    bench.tune(11, TEST_EPOCH_S="0.2")
    pruned = [trial for trial in bench.record()["trials"] if trial["state"] == "pruned"]
    assert pruned
    assert all(2 <= len(trial["curve"]) < 4 for trial in pruned)
    assert all("val_f1=" in trial["reason"] for trial in pruned)
    ended = len(list(bench.marks.glob("ended-*")))
    assert ended == 11 - len(pruned), "what was pruned has not gone on"


def test_a_trial_that_fails_is_recorded_and_the_search_goes_on(bench: Bench) -> None:
    status, out = bench.tune(8, TEST_MISFORTUNE="fail:lamb")
    assert status == 0, out
    failed = [trial for trial in bench.record()["trials"] if trial["state"] == "failed"]
    assert failed
    assert {trial["reason"] for trial in failed} == {"train: lamb is not for this"}
    assert all(trial["parameters"]["optimizer"] == "lamb" for trial in failed)


def test_a_search_of_failures_fails_early_and_tries_them_again_when_the_cause_is_gone(
    bench: Bench,
) -> None:
    status, out = bench.tune(8, TEST_MISFORTUNE="fail:all")
    assert status == 1
    assert "Search: 5 of 5 trials failed, the last: train:" in out
    assert bench.begun == 5, "after more than four of eight the rest is spared"
    status, out = bench.tune(8)
    assert status == 0, out
    assert "failed" not in bench.states()
    assert len(bench.states()) == 8


def test_a_winner_whose_model_is_gone_is_trained_again(bench: Bench) -> None:
    bench.tune(3)
    (model,) = bench.models()
    before = bench.record()["best"]
    model.unlink()
    status, out = bench.tune(3)
    assert status == 0, out
    assert bench.begun == 4
    assert bench.record()["best"] == before
    assert len(bench.models()) == 1


def test_workers_share_a_search(bench: Bench) -> None:
    status, out = bench.tune(6, "-p", "ParallelTrials=2", TEST_EPOCH_S="0.1")
    assert status == 0, out
    assert [trial["number"] for trial in bench.record()["trials"]] == [1, 2, 3, 4, 5, 6]
    assert len(bench.models()) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "stopped"])
def test_an_interrupted_search_goes_on_where_it_was(bench: Bench, number: signal.Signals) -> None:
    hanging = _searching(bench)
    os.kill(hanging.pid, number)
    hanging.wait(20)
    children = [int(word) for word in (bench.marks / "hanging").read_text().split()]
    if number == signal.SIGKILL:  # nobody is left who could end them
        for child in children:
            os.kill(child, signal.SIGKILL)
    else:
        assert not any(_is_alive(child) for child in children), "a stop leaves no process"
    assert bench.begun == 3
    status, out = bench.tune(5)
    assert status == 0, out
    assert bench.begun == 6, "two had finished, the third went on, two were missing"
    third = bench.record()["trials"][2]
    assert [epoch for epoch, _ in third["curve"]] == [1, 2, 3, 4]
    trials = [trial["parameters"] for trial in bench.record()["trials"]]
    log = bench.workshop.backend.list(TUNED)[0].steps["Search"].log
    assert "epoch=1/" not in (Path(log).parent / "trial-003" / "log.txt").read_text()
    bench.tune(5, "--no-cache")
    assert [trial["parameters"] for trial in bench.record()["trials"]] == trials


def _searching(bench: Bench) -> subprocess.Popen[bytes]:
    """Start a search of its own process, and wait until its third training hangs."""
    shutil.copy(REPOSITORY / "pipeline.py", bench.workshop.root)
    environ = bench.workshop.environ | {"TEST_MISFORTUNE": "hang:3"}
    words = ["Trials=5", "ParallelTrials=1", "Epochs=4", "TrainDataset=sample://one"]
    command = [sys.executable, "pipeline.py", "--tune", "--backend", "local"]
    command += [w for word in words for w in ("-p", word)]
    process = subprocess.Popen(
        command, cwd=bench.workshop.root, env=environ, stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + 60
    while not (bench.marks / "hanging").exists():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    return process


def _is_alive(process_id: int) -> bool:
    try:
        status = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return status != "Z"
