"""One window for the endpoint: tested when due, repeated when cut short, never in the way."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from components.inference.drift_watch import DriftWatch
from components.inference.records import RecordError
from components.inference.tests.telemetry_factories import (
    CLASSES,
    WINDOW,
    a_bundle,
    packed,
    rows_of,
    wait_for,
)

NOW_S = 1_700_000_000.0


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    return folder, a_bundle(folder)


@pytest.fixture
def watch(bundle, tmp_path):
    made = DriftWatch(bundle[0] / "detector", tmp_path / "state", CLASSES, interval_s=60)
    yield made
    made.close(NOW_S)


def fed(watch: DriftWatch, rows: list[list[float]]) -> DriftWatch:
    for row in rows:
        watch.add(packed(*row))
    return watch


def test_the_same_world_is_no_drift_and_the_result_is_left_for_the_workers(watch, bundle, tmp_path):
    fed(watch, rows_of(bundle[1], 2 * WINDOW, 2))
    result = wait_for(lambda: watch.tick(NOW_S))
    assert json.loads((tmp_path / "state/drift.json").read_text()) == result
    assert result["is_drift"] is False
    assert (result["window"], result["seen"], result["tests"]) == (WINDOW, 2 * WINDOW, 1)
    assert result["p_value"] > result["threshold"] == 0.001
    assert result["time"] == NOW_S
    assert len(result["features"]) == 5
    assert {c["label"] for c in result["classes"]} == set(CLASSES)
    assert watch.seen == 0


def test_a_changed_world_is_drift_and_what_changed_is_named(watch, bundle):
    rows = rows_of(bundle[1], WINDOW, 3)
    for row in rows:
        row[2] += 2
        row[-1] = 2.0
    fed(watch, rows)
    result = wait_for(lambda: watch.tick(NOW_S))
    assert result["is_drift"] is True
    assert {f["name"] for f in result["features"][:2]} == {"component 2", "class mix"}
    assert result["classes"][0]["label"] == "owl"
    assert result["classes"][0]["window_share"] == 1.0
    assert 0.2 < result["classes"][0]["reference_share"] < 0.5


def test_no_test_before_the_window_is_full_or_the_interval_over(watch, bundle, tmp_path):
    window_file = tmp_path / "state/drift-window.npz"
    fed(watch, rows_of(bundle[1], WINDOW - 1, 4)).tick(NOW_S)
    assert not window_file.exists()
    fed(watch, rows_of(bundle[1], 1, 5)).tick(NOW_S)
    assert window_file.exists()
    fed(watch, rows_of(bundle[1], WINDOW, 6))
    wait_for(lambda: watch.tick(NOW_S + 59))
    watch.tick(NOW_S + 59)
    assert not window_file.exists()
    watch.tick(NOW_S + 60)
    assert window_file.exists()
    assert watch.seen == 0


def test_a_test_cut_short_is_repeated_by_the_next_process(watch, bundle, tmp_path):
    fed(watch, rows_of(bundle[1], WINDOW, 7, shift=1.0)).tick(NOW_S)
    fed(watch, rows_of(bundle[1], 7, 8))
    watch.close(NOW_S)
    second = DriftWatch(bundle[0] / "detector", tmp_path / "state", CLASSES, interval_s=60)
    assert second.seen == 7
    result = wait_for(lambda: second.tick(NOW_S + 1))
    assert result["is_drift"]
    assert result["seen"] == WINDOW
    assert second.tick(NOW_S + 2) is None
    assert second.seen == 7
    fed(second, rows_of(bundle[1], WINDOW - 7, 16))
    assert wait_for(lambda: second.tick(NOW_S + 62))["tests"] == 2
    assert second.failures == 0
    second.close(NOW_S)


def test_a_failing_test_is_counted_and_the_next_window_begins(watch, bundle, tmp_path, caplog):
    fed(watch, rows_of(bundle[1], WINDOW, 9)).tick(NOW_S)
    (tmp_path / "state/drift-window.npz").write_text("no arrays")
    wait_for(lambda: watch.tick(NOW_S) or watch.failures)
    assert (watch.tests, watch.failures) == (0, 1)
    assert "ended with status 1" in caplog.text
    fed(watch, rows_of(bundle[1], WINDOW, 10))
    assert wait_for(lambda: watch.tick(NOW_S + 61))
    assert (watch.tests, watch.failures) == (1, 1)


def test_a_test_that_never_ends_is_killed_and_counted(watch, bundle):
    fed(watch, rows_of(bundle[1], WINDOW, 11)).tick(NOW_S)
    assert watch.tick(NOW_S + 901) is None
    assert watch.failures == 1


def test_a_state_folder_that_cannot_be_written_is_counted(watch, bundle, tmp_path):
    state = tmp_path / "state"
    for path in state.iterdir():
        path.unlink()
    state.rmdir()
    state.write_text("a file where the folder was")
    fed(watch, rows_of(bundle[1], WINDOW, 12))
    assert watch.tick(NOW_S) is None
    assert watch.failures == 1
    for tenths in range(40):
        watch.tick(NOW_S + tenths / 10)
    assert watch.failures == 2, "once for the test and once for the rows, then a pause"
    state.unlink()
    assert wait_for(lambda: watch.tick(NOW_S + 10))


def test_features_of_another_detector_are_refused(watch, bundle):
    with pytest.raises(RecordError, match="of one bundle"):
        watch.add(packed(*rows_of(bundle[1], 1, 13)[0][1:]))
    with pytest.raises(RecordError, match="not finite"):
        watch.add(packed(*[float("nan")] * 6))
    assert watch.seen == 0


def test_another_library_than_the_right_one_is_counted_and_the_log_names_the_right_one(
    watch, bundle, tmp_path, monkeypatch, caplog
):
    package = tmp_path / "alibi_detect"
    (package / "cd").mkdir(parents=True)
    for init in (package / "__init__.py", package / "cd/__init__.py"):
        init.touch()
    (package / "cd/tabular.py").write_text("import torch\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path.cwd())]))
    fed(watch, rows_of(bundle[1], WINDOW, 14)).tick(NOW_S)
    wait_for(lambda: watch.tick(NOW_S) or watch.failures)
    assert (watch.tests, watch.failures) == (0, 1)
    assert "LibraryError: drift: TabularDrift" in caplog.text
    assert "install alibi-detect==" in caplog.text
