"""Names of runs, and links that follow their event files."""

from __future__ import annotations

from pathlib import Path

from ci.tensorboard import link, runs

EVENTS = "events.out.tfevents.1.host.2.0"


def written(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / EVENTS).write_bytes(b"")
    return folder


def test_a_run_is_called_by_pipeline_execution_and_step_while_it_runs_and_after(
    tmp_path: Path,
) -> None:
    job = tmp_path / "executions/scenes/0123456789ab/Train/ml/algo-1"
    going = written(job / "output/tensorboard")
    written(going / "kept")  # of the same run
    done = tmp_path / "s3/a-bucket/scenes/tensorboard/0123456789ab-Train/tensorboard-output"
    assert runs(tmp_path) == {"scenes/0123456789ab/Train": going}
    done.parent.mkdir(parents=True)
    going.rename(done)
    assert runs(tmp_path) == {"scenes/0123456789ab/Train": done}


def test_trials_of_a_search_have_names_of_their_own(tmp_path: Path) -> None:
    place = tmp_path / "s3/a-bucket/scenes/tensorboard"
    expected = {
        f"scenes/0123456789ab/Tune-{number}": written(
            place / f"0123456789ab-Tune-{number}" / "tensorboard-output"
        )
        for number in (1, 2)
    }
    assert runs(tmp_path) == expected


def test_links_follow_a_run_and_go_with_it(tmp_path: Path) -> None:
    links, first, second = tmp_path / "links", written(tmp_path / "a"), written(tmp_path / "b")
    link(links, {"scenes/1/Train": first, "scenes/2/Train": first})
    kept = (links / "scenes/2/Train").lstat().st_ino
    link(links, {"scenes/1/Train": second, "scenes/2/Train": first})
    assert (links / "scenes/1/Train").readlink() == second
    assert (links / "scenes/1/Train" / EVENTS).is_file()
    assert (links / "scenes/2/Train").lstat().st_ino == kept
    link(links, {})
    assert not [path for path in links.rglob("*") if path.is_symlink()]


def test_a_folder_becomes_a_run_and_a_run_a_folder(tmp_path: Path) -> None:
    links, place = tmp_path / "links", written(tmp_path / "a")
    for names in (["scenes/1/Tune/1"], ["scenes/1/Tune"], ["scenes/1/Tune/2"]):
        link(links, dict.fromkeys(names, place))
        found = [path for path in links.rglob("*") if path.is_symlink()]
        assert [str(path.relative_to(links)) for path in found] == names
