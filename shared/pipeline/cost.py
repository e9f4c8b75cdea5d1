"""What a run may cost, before it starts: every job of the definition at its time limit.

Pure: takes the compiled definition, parameter values and prices.yaml; `cli.py` asks before
a run on SageMaker, `python -m ci cost` prints the whole. The estimate is an upper bound
without retries: a job ends earlier than `max_runtime_s`, and spot costs less.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from shared.component.errors import UsageError
from shared.component.port import ParameterValue
from shared.pipeline.errors import CostError

Json = dict[str, Any]
PRICES = Path(__file__).with_name("prices.yaml")


@dataclass(frozen=True)
class Price:
    """USD a unit; `free` units a month cost nothing."""

    usd: float
    unit: str
    source: str
    free: float = 0.0

    def of(self, quantity: float) -> float:
        """Return USD for a month's quantity, less what is free."""
        return self.usd * max(0.0, quantity - self.free)


@dataclass(frozen=True)
class Prices:
    """The price file.

    instances: USD an hour by type; resources: type -> (price, factor), paid by being there.
    """

    region: str
    taken: str
    hours_per_month: float
    days_per_month: float
    spot_share: float
    instances: Mapping[str, float]
    prices: Mapping[str, Price]
    assumptions: Mapping[str, float]
    reasons: Mapping[str, str]
    resources: Mapping[str, tuple[str, float]]
    free_at_idle: frozenset[str]

    def instance(self, instance_type: str) -> float:
        """Return USD an hour.

        Raises:
            CostError: the file has no price for the type.
        """
        if instance_type not in self.instances:
            raise CostError(
                f"cost: no price for {instance_type} in {PRICES.name}; add it there, "
                "or start with --max-cost inf, which asks for none"
            )
        return self.instances[instance_type]


@dataclass(frozen=True)
class JobCost:
    """One job at its time limit, in USD; `spot_usd` is None where it does not run on spot.

    count: machines, of a search those of all its trials.
    """

    name: str
    instance_type: str
    count: int
    max_hours: float
    on_demand_usd: float
    spot_usd: float | None

    @property
    def usd(self) -> float:
        """USD as the job is set up, by the assumed price of spot."""
        return self.on_demand_usd if self.spot_usd is None else self.spot_usd


@dataclass(frozen=True)
class RunCost:
    """All jobs of one run, and of what the estimate was made."""

    jobs: Sequence[JobCost]
    spot_share: float
    taken: str

    @property
    def on_demand_usd(self) -> float:
        return sum(job.on_demand_usd for job in self.jobs)

    @property
    def usd(self) -> float:
        return sum(job.usd for job in self.jobs)

    def __str__(self) -> str:
        return (
            f"at most {self.on_demand_usd:.2f} USD on demand, {self.usd:.2f} with spot at an "
            f"assumed {self.spot_share:.0%} (every job at its time limit, without retries; "
            f"list prices of {self.taken})"
        )


def load_prices(path: Path = PRICES) -> Prices:
    """Read the price file.

    Raises:
        CostError: it is missing, no YAML, or lacks something.
    """
    try:
        document: Json = yaml.safe_load(path.read_text())
        prices = {name: Price(**price) for name, price in document["prices"].items()}
        assumed = {name: float(e["value"]) for name, e in document["assumptions"].items()}
        return Prices(
            region=document["region"],
            taken=str(document["taken"]),
            hours_per_month=document["hours_per_month"],
            days_per_month=document["days_per_month"],
            spot_share=document["spot_share"],
            instances=document["instances"]["usd"],
            prices=prices,
            assumptions=assumed,
            reasons={name: e["why"] for name, e in document["assumptions"].items()},
            resources={
                kind: (e["price"], assumed.get(e.get("times"), e.get("times", 1.0)))
                for kind, e in document["resources"].items()
            },
            free_at_idle=frozenset(document["free_at_idle"]),
        )
    except (OSError, yaml.YAMLError, KeyError, TypeError) as err:
        raise CostError(f"cost: {path} is no price file: {err!r}; restore it from git") from err


def parse_usd(text: str) -> float:
    """Read an amount from 0, or `inf` for no limit.

    Raises:
        UsageError: it is none; NaN, which nothing exceeds, neither.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value) or value < 0:
        raise UsageError(f"cost: '{text}' is no amount of USD; give a number from 0, or inf")
    return value


def estimate_run(document: Json, given: Mapping[str, ParameterValue], prices: Prices) -> RunCost:
    """Price a definition (compiler.document) as it would start with the given parameters.

    Raises:
        CostError: a machine has no price.
    """
    values = {p["Name"]: p["DefaultValue"] for p in document["Parameters"]} | dict(given)
    jobs = [_job(step, values, prices) for step in _jobs(document["Steps"])]
    return RunCost(jobs, prices.spot_share, prices.taken)


def refuse_above(limit_usd: float, run: RunCost) -> None:
    """Refuse a run that may cost more than a limit, reckoned on demand: spot has no fixed price.

    Raises:
        CostError: it may.
    """
    if run.on_demand_usd > limit_usd:
        largest = max(run.jobs, key=lambda job: job.on_demand_usd)
        raise CostError(
            f"cost: this run may cost {run.on_demand_usd:.2f} USD, more than the limit of "
            f"{limit_usd:.2f}; most of it {largest.name}: {largest.count} x "
            f"{largest.instance_type} for {largest.max_hours:g} h; take fewer trials, "
            "fewer or smaller machines, or raise --max-cost or VISIONLOOP_MAX_COST"
        )


def _jobs(steps: Sequence[Json]) -> Iterator[Json]:
    """Yield every step that is a job; both branches of a condition, of which one will run."""
    for step in steps:
        arguments = step["Arguments"]
        if step["Type"] in ("Training", "Processing", "Tuning"):
            yield step
        elif step["Type"] == "Condition":
            yield from _jobs(arguments["IfSteps"])
            yield from _jobs(arguments["ElseSteps"])


def _job(step: Json, values: Mapping[str, ParameterValue], prices: Prices) -> JobCost:
    arguments, trials = step["Arguments"], 1
    if step["Type"] == "Tuning":
        limits = arguments["HyperParameterTuningJobConfig"]["ResourceLimits"]
        trials = int(_value(limits["MaxNumberOfTrainingJobs"], values))
        arguments = arguments["TrainingJobDefinition"]
    cluster = arguments.get("ResourceConfig") or arguments["ProcessingResources"]["ClusterConfig"]
    instance_type = str(_value(cluster["InstanceType"], values))
    count = trials * int(_value(cluster["InstanceCount"], values))
    hours = _value(arguments["StoppingCondition"]["MaxRuntimeInSeconds"], values) / 3600
    volume = cluster["VolumeSizeInGB"] * prices.prices["sagemaker_volume"].usd
    volume_usd = count * hours * volume / prices.hours_per_month
    machines_usd = count * hours * prices.instance(instance_type)
    is_spot = bool(arguments.get("EnableManagedSpotTraining"))
    spot_usd = machines_usd * prices.spot_share + volume_usd if is_spot else None
    name = step["Name"]
    return JobCost(name, instance_type, count, hours, machines_usd + volume_usd, spot_usd)


def _value(value: Any, values: Mapping[str, ParameterValue]) -> Any:
    """Return a constant, or what a reference to a parameter stands for."""
    if isinstance(value, dict):
        return values[value["Get"].removeprefix("Parameters.")]
    return value
