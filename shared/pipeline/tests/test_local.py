"""The whole road on this machine: real child processes, fake components."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from shared.pipeline.settings import REPOSITORY
from shared.pipeline.tests.conftest import Workshop

JOBS = ("FetchData", "Preprocess", "Train", "Evaluate", "Explain", "FitDetector", "Register")


def test_runs_end_to_end_and_a_second_run_comes_from_the_cache(workshop: Workshop) -> None:
    status, out = workshop.start()
    assert status == 0, out
    assert "pipeline visionloop: created" in out
    assert "1.0000 >= 0.9000" in out
    assert "model-package/visionloop/1 (PendingManualApproval)" in out
    report = Path(out.rpartition("report         ")[2].strip())
    assert report.read_text() == "<h1>evaluation</h1>"
    assert workshop.steps()["GatesFailed"] == "NotExecuted"

    started = time.monotonic()
    status, out = workshop.start()
    assert time.monotonic() - started < 5
    assert "pipeline visionloop: unchanged" in out
    assert [workshop.steps()[job] for job in JOBS] == ["cached"] * 7


def test_a_failed_gate_ends_the_execution_and_names_the_figures(workshop: Workshop) -> None:
    status, out = workshop.start("-p", "Epochs=1", "-p", "MinAccuracy=0.8")
    assert status == 1
    steps = workshop.steps()
    assert steps["Register"] == steps["RegisterModel"] == "NotExecuted"
    assert "GatesFailed failed: A gate failed: accuracy >= 0.8, macro F1 >= 0.9" in out
    assert "0.1000 >= 0.8000  FAILED" in out
    assert out.strip().endswith("Evaluate/report/report.html")


def test_touching_one_component_runs_it_and_only_what_its_output_changes(
    workshop: Workshop,
) -> None:
    workshop.start()
    source = workshop.root / "components" / "preprocess" / "component.py"
    source.write_text(source.read_text() + "\n# a comment changes the code, not the output\n")
    workshop.start()
    steps = workshop.steps()
    assert steps["Preprocess"] == "Succeeded"
    assert {steps[job] for job in JOBS if job != "Preprocess"} == {"cached"}

    source.write_text(source.read_text().replace('"raw":', '"images":'))
    workshop.start()
    steps = workshop.steps()
    assert steps["FetchData"] == "cached"
    assert steps["Preprocess"] == steps["Train"] == steps["Evaluate"] == "Succeeded"


def test_the_cache_looks_at_what_a_location_holds(workshop: Workshop, tmp_path: Path) -> None:
    data = tmp_path / "data.txt"
    data.write_text("one")
    workshop.start("-p", f"TrainDataset={data}")
    data.write_text("two, and longer")
    workshop.start("-p", f"TrainDataset={data}")
    assert workshop.steps()["FetchData"] == "Succeeded"
    assert workshop.steps()["Train"] == "Succeeded"
    workshop.start("-p", f"TrainDataset=file://{data}", "-p", "Epochs=24")
    assert workshop.steps()["FetchData"] == "cached"
    assert workshop.steps()["Train"] == "Succeeded"


def test_what_is_out_of_sight_is_not_cached_but_cuts_off_early(workshop: Workshop) -> None:
    address = "TrainDataset=https://127.0.0.1/never-opened.zip"
    workshop.start("-p", address)
    workshop.start("-p", address)
    assert workshop.steps()["FetchData"] == "Succeeded"
    assert workshop.steps()["Preprocess"] == "cached"


def test_no_cache_runs_every_step(workshop: Workshop) -> None:
    workshop.start()
    workshop.start("--no-cache")
    assert {workshop.steps()[job] for job in JOBS} == {"Succeeded"}


def test_a_tampered_output_is_not_taken_from_the_cache(workshop: Workshop) -> None:
    workshop.start()
    dataset = next(workshop.home.glob("s3/*/visionloop/*/Preprocess/dataset/dataset.json"))
    dataset.write_text("{}")
    workshop.start()
    assert workshop.steps()["Preprocess"] == "Succeeded"
    assert workshop.steps()["Train"] == "cached"


def test_a_failed_step_says_why_and_where_its_log_is(workshop: Workshop) -> None:
    status, out = workshop.start("-p", "Optimizer=error")
    assert status == 1
    assert "Train failed: train: the data are bad; bring better" in out
    log = Path(out.partition("log: ")[2].splitlines()[0])
    assert "epoch=1 val_f1=0.71" in log.read_text()
    steps = workshop.steps()
    assert steps["Evaluate"] == steps["GatesPassed"] == steps["GatesFailed"] == "NotExecuted"


def test_a_fault_of_the_code_is_one_line_too(workshop: Workshop) -> None:
    _, out = workshop.start("-p", "Optimizer=bug")
    assert "Train failed: train: ZeroDivisionError: nobody thought of that\n" in out


def test_nothing_half_written_is_published_or_cached(workshop: Workshop) -> None:
    workshop.start("-p", "Optimizer=error")
    assert not list(workshop.home.rglob("half"))
    assert not list(workshop.home.glob("s3/*/visionloop/training"))
    assert not list(workshop.home.rglob("ml"))
    workshop.start("-p", "Optimizer=error")
    assert workshop.steps()["Preprocess"] == "cached"
    assert workshop.steps()["Train"] == "Failed"


def test_a_killed_job_is_tried_again_and_resumes(workshop: Workshop, tmp_path: Path) -> None:
    workshop.environ["TEST_MARK"] = str(tmp_path / "mark")
    workshop.run("--upsert", "--backend", "local")
    path = workshop.home / "pipelines" / "visionloop.json"
    path.write_text(path.read_text().replace('"IntervalSeconds": 30', '"IntervalSeconds": 0'))
    status, out = workshop.run("--start", "--backend", "local", "-p", "Optimizer=die")
    assert status == 0, out
    execution = workshop.backend.list("visionloop")[0]
    assert "resumed from checkpoint" in Path(execution.steps["Train"].log).read_text()
    assert not list(workshop.home.glob("checkpoints/*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing_running_and_the_next_start_goes_on(
    workshop: Workshop, tmp_path: Path, number: signal.Signals
) -> None:
    mark = tmp_path / "mark"
    command = [sys.executable, "-c", _SCRIPT, str(workshop.root), "Optimizer=hang"]
    environ = {**workshop.environ, "TEST_MARK": str(mark), "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)
    _until(lambda: mark.is_file() and len(mark.read_text().split()) == 2)
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Stopped" in out
    assert not [pid for pid in mark.read_text().split() if _is_running(int(pid))]
    assert workshop.steps()["Train"] == "Stopped"
    assert workshop.backend.list("visionloop")[0].status == "Stopped"

    status, _ = workshop.start("-p", "Optimizer=adamw")
    assert status == 0
    assert workshop.steps()["Preprocess"] == "cached"


def test_a_killed_backend_is_shown_as_stopped_and_the_next_start_goes_on(
    workshop: Workshop, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    command = [sys.executable, "-c", _SCRIPT, str(workshop.root), "Optimizer=hang"]
    environ = {**workshop.environ, "TEST_MARK": str(mark), "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)
    _until(lambda: mark.is_file() and len(mark.read_text().split()) == 2)
    process.kill()
    process.wait()
    for pid in mark.read_text().split():  # nobody can clean up after SIGKILL
        os.kill(int(pid), signal.SIGKILL)
    assert workshop.backend.list("visionloop")[0].status == "Stopped"
    status, _ = workshop.start()
    assert status == 0
    assert workshop.steps()["Preprocess"] == "cached"


def test_the_frozen_test_set_travels_from_run_to_run(workshop: Workshop) -> None:
    workshop.start("-p", "TestDataset=sample://first")
    workshop.start("-p", "TestDataset=sample://second")
    frozen = next(workshop.home.glob("s3/*/visionloop/frozen-test/test.txt"))
    assert frozen.read_text() == "sample://first"


def test_the_approved_package_becomes_the_next_champion(workshop: Workshop) -> None:
    workshop.start()
    arn = workshop.backend.registry.list("visionloop")[0].arn
    status, _ = workshop.run("--backend", "local", "--approve", arn, "--comment", "good enough")
    assert status == 0
    workshop.start()
    execution = workshop.backend.list("visionloop")[0]
    url = workshop.backend.registry.describe(arn).model_data_url
    assert execution.parameters["Champion"] == url
    assert workshop.backend.store.path(url).is_file()
    status, out = workshop.run("--backend", "local", "--list")
    assert "Approved" in out
    assert "good enough" in out
    assert out.count("Succeeded") == 2


def test_the_model_archive_is_the_same_bytes_whenever_it_is_packed(workshop: Workshop) -> None:
    workshop.start()
    workshop.start("--no-cache")
    first, second = workshop.home.glob("s3/*/visionloop/training/*/output/model.tar.gz")
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as archive:
        assert archive.getnames() == ["epochs.txt", "weights.txt"]


def test_describe_tells_steps_parameters_and_logs(workshop: Workshop) -> None:
    workshop.start()
    execution = workshop.backend.list("visionloop")[0]
    status, out = workshop.run("--backend", "local", "--describe", execution.id)
    assert status == 0
    assert "Epochs = 25" in out
    assert "Train          Succeeded in" in out
    assert "val_f1=0.71" in out
    stored = json.loads(
        (Path(execution.steps["Train"].log).parents[1] / "definition.json").read_text()
    )
    assert stored["Version"] == "2020-12-01"


_SCRIPT = """
import sys
from pathlib import Path
import pipeline
from shared.pipeline import cli
arguments = ["--upsert", "--start", "--backend", "local", "-p", sys.argv[2]]
raise SystemExit(cli.main(pipeline.build, arguments, root=Path(sys.argv[1])))
"""


def _until(condition, limit_s: float = 30.0) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def _is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
