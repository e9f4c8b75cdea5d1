"""The report says what was found, and the defaults where they come from."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from components.tune.component import find_record, run
from components.tune.tests.searches import search, trial, write_inputs
from shared.component.errors import InputError

MIXED = search(*map(trial, range(1, 15)), trial(15, "pruned"), trial(16, "failed"))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    run(**write_inputs(folder, MIXED))
    return folder


def _text(folder: Path) -> str:
    html = (folder / "report" / "report.html").read_text()
    html = re.sub(r"<(style|img)\b[^>]*>(.*?</style>)?", " ", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_the_report_ranks_the_trials_and_shows_what_did_not_end(written: Path) -> None:
    text = _text(written)
    report = json.loads((written / "report" / "report.json").read_text())
    best = report["best"]
    values = {t["number"]: t["value"] for t in MIXED["trials"] if t["state"] == "complete"}
    assert values[best] == max(values.values())
    assert f"Of 16 trials number {best} is the best: val_f1 {values[best]:.4f}" in text
    assert f"the values from before (trial 1) reached {values[1]:.4f}" in text
    ranked = sorted(values, key=lambda number: -values[number])
    places = [text.index(f" {rank} {n} {values[n]:.4f} ") for rank, n in enumerate(ranked, 1)]
    assert places == sorted(places)
    assert "pruned: epoch 2: val_f1=0.1" in text
    assert "failed: train: out of memory" in text
    assert "14 and 1 pruned, 1 failed" in text


def test_the_report_tells_the_winners_test_figures_and_why_only_those(written: Path) -> None:
    text = _text(written)
    assert "87.5% of the winner alone" in text
    assert "0.812 of the winner alone" in text
    assert "chosen by val_f1 on 7 validation images" in text
    assert "20 test images were looked at once, for the winner" in text


def test_the_report_has_its_pictures(written: Path) -> None:
    names = {path.stem for path in (written / "report" / "pictures").iterdir()}
    assert names == {"history", "parallel-coordinates", "learning-curves", "importance"}


def test_importance_finds_what_mattered_and_is_silent_about_few_trials(
    written: Path, tmp_path: Path
) -> None:
    shares = json.loads((written / "report" / "report.json").read_text())["importance"]
    assert sum(shares.values()) == pytest.approx(1)
    assert max(shares, key=lambda name: shares[name]) == "learning_rate"
    run(**write_inputs(tmp_path, search(*map(trial, range(1, 12)))))
    assert json.loads((tmp_path / "report" / "report.json").read_text())["importance"] == {}
    assert "Not shown: 11 trials ended with a value, and of fewer than 12" in _text(tmp_path)


def test_the_defaults_are_the_winners_values_with_their_provenance(written: Path) -> None:
    found = yaml.safe_load((written / "defaults" / "defaults.yaml").read_text())
    report = json.loads((written / "report" / "report.json").read_text())
    best = next(t for t in report["trials"] if t["number"] == report["best"])
    assert found["defaults"] == {
        "train.model_name": best["parameters"]["model_name"],
        "train.optimizer": best["parameters"]["optimizer"],
        "train.learning_rate": float(best["parameters"]["learning_rate"]),
    }
    provenance = found["provenance"]
    assert provenance["study"] == "0123456789abcdef"
    assert provenance["date"].startswith("20")
    assert provenance["objective"]["metric"] == "val_f1"
    assert provenance["objective"]["value"] == best["value"]
    assert provenance["trials"] == {"complete": 14, "pruned": 1, "failed": 1}
    assert provenance["dataset_fingerprint"] == "f" * 64
    assert provenance["test_fingerprint"] == "e" * 64
    assert provenance["test_metrics"]["accuracy"] == 0.875
    assert provenance["code"] == "fedcba9876543210"
    assert provenance["trained_with"] == {"epochs": 4, "image_size": 32, "pretrained": "none"}


def test_a_search_of_one_trial_that_found_nothing_better_says_so(tmp_path: Path) -> None:
    run(**write_inputs(tmp_path, search(trial(1))))
    assert "It has the values from before: nothing better was found." in _text(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no record of a search"),
        ("{}", "is no record of a search"),
        (json.dumps(search(trial(1), schema_version=2)), "schema version 2, not 1"),
        (json.dumps(search(trial(1), best=7)), "is no record of a search"),
    ],
)
def test_what_is_no_record_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "trials.json"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        find_record(str(path))
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_place_with_nothing_and_metrics_of_nobody_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing at .*none\.json"):
        find_record(str(tmp_path / "none.json"))
    arguments = write_inputs(tmp_path, search(trial(1)))
    (tmp_path / "metrics" / "evaluation.json").write_text('{"metrics": {"accuracy": 1}}')
    with pytest.raises(InputError, match="is none of evaluate's"):
        run(**arguments)
    (tmp_path / "metrics" / "evaluation.json").unlink()
    with pytest.raises(InputError, match="give the metrics that evaluate wrote"):
        run(**arguments)
