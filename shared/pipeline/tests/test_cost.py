"""What a run may cost is reckoned from the definition, its parameters and one price file."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import pipeline
from shared.component.errors import UsageError
from shared.pipeline.compiler import document
from shared.pipeline.cost import (
    PRICES,
    estimate_run,
    load_prices,
    parse_usd,
    refuse_above,
)
from shared.pipeline.errors import CostError
from shared.pipeline.settings import Settings

SPOT_SHARE = 0.5


def _prices() -> Any:
    return replace(
        load_prices(), instances={"ml.a": 1.0, "ml.b": 10.0}, spot_share=SPOT_SHARE, taken="today"
    )


def _step(name: str, kind: str, hours: float, **more: Any) -> dict[str, Any]:
    cluster = {"InstanceType": "ml.a", "InstanceCount": 1, "VolumeSizeInGB": 0, **more}
    is_spot = cluster.pop("spot", False)
    where = {"ResourceConfig": cluster, "EnableManagedSpotTraining": is_spot}
    if kind == "Processing":
        where = {"ProcessingResources": {"ClusterConfig": cluster}}
    limit = {"StoppingCondition": {"MaxRuntimeInSeconds": hours * 3600}}
    return {"Name": name, "Type": kind, "Arguments": {**where, **limit}}


def _document(*steps: dict[str, Any], **parameters: Any) -> dict[str, Any]:
    declared = [{"Name": n, "DefaultValue": v} for n, v in parameters.items()]
    return {"Parameters": declared, "Steps": list(steps)}


def test_a_job_is_its_machines_for_its_time_limit_and_spot_a_share_of_it() -> None:
    run = estimate_run(
        _document(
            _step("Prepare", "Processing", 2),
            _step("Train", "Training", 3, InstanceType="ml.b", InstanceCount=2, spot=True),
        ),
        {},
        _prices(),
    )
    prepare, train = run.jobs
    assert (prepare.on_demand_usd, prepare.spot_usd) == (2.0, None)
    assert (train.on_demand_usd, train.spot_usd) == (60.0, 30.0)
    assert (run.on_demand_usd, run.usd) == (62.0, 32.0)


def test_a_disk_costs_too() -> None:
    run = estimate_run(_document(_step("A", "Processing", 730, VolumeSizeInGB=100)), {}, _prices())
    assert run.on_demand_usd == pytest.approx(730 + 14)  # a month of 100 GB at 0.14


def test_a_parameter_decides_and_its_default_where_none_is_given() -> None:
    asked = _step("Train", "Training", 1, InstanceType={"Get": "Parameters.Machine"})
    made = _document(asked, Machine="ml.a")
    assert estimate_run(made, {}, _prices()).on_demand_usd == 1
    assert estimate_run(made, {"Machine": "ml.b"}, _prices()).on_demand_usd == 10


def test_a_search_costs_what_all_its_trials_may() -> None:
    trial = _step("Search", "Training", 2, InstanceType="ml.b", spot=True)["Arguments"]
    limits = {"MaxNumberOfTrainingJobs": {"Get": "Parameters.Trials"}}
    config = {"ResourceLimits": limits}
    arguments = {"HyperParameterTuningJobConfig": config, "TrainingJobDefinition": trial}
    made = _document({"Name": "Search", "Type": "Tuning", "Arguments": arguments}, Trials=20)
    assert estimate_run(made, {}, _prices()).on_demand_usd == 20 * 20
    assert estimate_run(made, {"Trials": 3}, _prices()).usd == 3 * 20 * SPOT_SHARE


def test_jobs_of_both_branches_count_and_what_is_no_job_does_not() -> None:
    fork = {
        "Name": "Gate",
        "Type": "Condition",
        "Arguments": {
            "IfSteps": [_step("Register", "Processing", 1)],
            "ElseSteps": [{"Name": "No", "Type": "Fail", "Arguments": {"ErrorMessage": ""}}],
        },
    }
    run = estimate_run(_document(fork), {}, _prices())
    assert [job.name for job in run.jobs] == ["Register"]


def test_the_real_pipeline_is_priced_whole_and_far_below_the_default_limit() -> None:
    settings = Settings()
    run = estimate_run(document(pipeline.build(settings), settings), {}, load_prices())
    assert {job.name for job in run.jobs} == {
        "FetchData",
        "Preprocess",
        "Train",
        "Evaluate",
        "Explain",
        "FitDetector",
        "Register",
    }
    assert [job.name for job in run.jobs if job.spot_usd is not None] == ["Train"]
    assert 1 < run.usd < run.on_demand_usd < 25
    refuse_above(parse_usd(settings.max_cost), run)


def test_above_the_limit_is_refused_naming_the_dearest_job_and_at_the_limit_is_not() -> None:
    run = estimate_run(
        _document(_step("Small", "Processing", 1), _step("Big", "Training", 4, spot=True)),
        {},
        _prices(),
    )
    refuse_above(5.0, run)
    with pytest.raises(CostError, match=r"5\.00 USD.*limit of 4\.99.*Big: 1 x ml\.a for 4 h"):
        refuse_above(4.99, run)


def test_a_machine_without_a_price_is_named_with_the_remedy() -> None:
    made = _document(_step("Train", "Training", 1, InstanceType="ml.new"))
    with pytest.raises(CostError, match=r"no price for ml\.new in prices\.yaml; add it there"):
        estimate_run(made, {}, _prices())


@pytest.mark.parametrize("text", ["", "plenty", "-1", "nan"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no amount of USD"):
        parse_usd(text)


def test_an_amount_may_be_without_limit() -> None:
    assert parse_usd("inf") == math.inf


def test_every_price_has_a_source_and_the_file_says_that_none_was_fetched() -> None:
    prices = load_prices()
    assert all(
        price.source.startswith("https://aws.amazon.com/") for price in prices.prices.values()
    )
    assert all(prices.reasons.values())
    assert "Nothing\n# was fetched" in PRICES.read_text()


def test_a_broken_price_file_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text("region: x\n")
    with pytest.raises(CostError, match=r"is no price file: KeyError"):
        load_prices(path)
