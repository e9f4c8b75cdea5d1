"""python -m ci cost: what this costs a month, by target, and what a training run costs.

    python -m ci cost                                  # idle, and at 1,000 predictions a day
    python -m ci cost --predictions-per-day 1000000 --target lambda
    python -m ci cost --json

Prices and assumptions: shared/pipeline/prices.yaml (its first lines say how far to trust
it). Resources are counted in ci/stacks/*.yaml: an alarm more raises the figure.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import pipeline
from ci.errors import TemplateError
from ci.problems import REPOSITORY
from ci.templates import load_templates
from shared.component.errors import UsageError
from shared.pipeline.compiler import document
from shared.pipeline.cost import Prices, RunCost, estimate_run, load_prices
from shared.pipeline.settings import Settings

Json = dict[str, Any]
TARGETS = ("endpoint", "serverless", "lambda")
_INSTANCE = "ml.m5.large"  # what `instance_per_s` in prices.yaml speaks of


@dataclass(frozen=True)
class Line:
    """One item of a month's bill in USD, idle and in use, and what it rests on."""

    item: str
    idle_usd: float
    used_usd: float
    rests_on: str


def main(argv: Sequence[str] | None = None, root: Path = REPOSITORY) -> int:
    """Print the estimate."""
    arguments = _parser().parse_args(argv)
    if arguments.predictions_per_day < 0:
        raise UsageError("cost: --predictions-per-day is negative; give a number from 0")
    targets = TARGETS if arguments.target == "all" else (arguments.target,)
    prices = load_prices()
    shared = base_lines(load_templates(root), prices)
    bills = {
        target: target_lines(target, arguments.predictions_per_day, prices) for target in targets
    }
    settings = replace(Settings.from_environ(), root=root)
    run = estimate_run(document(pipeline.build(settings), settings), {}, prices)
    show = _show_json if arguments.json else _show
    show(shared, bills, run, prices, arguments.predictions_per_day, sys.stdout)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ci cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--predictions-per-day", type=int, default=1000, metavar="N", help="default: 1000")
    add("--target", choices=[*TARGETS, "all"], default="all", help="what serves; default: all")
    add("--json", action="store_true", help="JSON instead of tables")
    return parser


def base_lines(templates: Mapping[str, Json], prices: Prices) -> list[Line]:
    """Return what is paid whatever serves: the stacks' resources, and what is stored."""
    lines = []
    for name, quantity in sorted(_quantities(templates, prices).items()):
        price = prices.prices[name]
        free = f", {price.free:g} free" if price.free else ""
        usd = price.of(quantity)
        text = f"{quantity:g} x {price.usd:g} a {price.unit}{free}; counted in ci/stacks"
        lines.append(Line(name, usd, usd, text))
    for name, assumption in (("s3_storage", "stored_gb"), ("ecr_storage", "image_gb")):
        quantity = prices.assumptions[assumption]
        usd = prices.prices[name].of(quantity)
        text = f"{quantity:g} GB x {prices.prices[name].usd:g}; {prices.reasons[assumption]}"
        lines.append(Line(name, usd, usd, text))
    return lines


def _quantities(templates: Mapping[str, Json], prices: Prices) -> dict[str, float]:
    """Count what the templates hold, by price; a condition is taken as met.

    Raises:
        TemplateError: a type whose price nobody has looked at.
    """
    counts: defaultdict[str, float] = defaultdict(float)
    for stack, template in templates.items():
        for name, resource in template["Resources"].items():
            kind = resource["Type"]
            if kind in prices.resources:
                price, factor = prices.resources[kind]
                counts[price] += _units(resource) * factor
            elif kind not in prices.free_at_idle:
                raise TemplateError(
                    f"cost: {stack}.yaml: {name} is a {kind}, whose price is not known; add the "
                    "type to resources or free_at_idle in shared/pipeline/prices.yaml"
                )
    return counts


def _units(resource: Json) -> int:
    """Return how often a resource is paid: an alarm by the metrics it looks at."""
    metrics = resource.get("Properties", {}).get("Metrics")
    if resource["Type"] != "AWS::CloudWatch::Alarm" or not isinstance(metrics, list):
        return 1
    return sum("MetricStat" in metric for metric in metrics)


def target_lines(target: str, per_day: int, prices: Prices) -> list[Line]:
    """Return what one target adds at so many predictions a day."""
    lines = {"endpoint": _endpoint, "serverless": _serverless, "lambda": _function}[target]
    return list(lines(per_day, prices))


def _endpoint(per_day: int, prices: Prices) -> Iterator[Line]:
    assumed = prices.assumptions
    peak_per_s = per_day / 86400 * assumed["peak"]
    count = max(1, math.ceil(peak_per_s / assumed["instance_per_s"]))
    month_usd = prices.instance(_INSTANCE) * prices.hours_per_month
    text = f"{_INSTANCE} around the clock: 1, then {count} for {peak_per_s:.2g}/s at the peak"
    yield Line("instances", month_usd, count * month_usd, text)
    alarms_usd = 2 * prices.prices["alarm_metric"].usd
    yield Line("scaling alarms", alarms_usd, alarms_usd, "autoscaling makes two")
    yield _data(per_day, prices)
    yield from _telemetry(per_day, prices, is_always_on=True)


def _serverless(per_day: int, prices: Prices) -> Iterator[Line]:
    usd = prices.prices["sagemaker_serverless"].of(_gb_seconds(per_day, prices))
    yield Line("compute", 0.0, usd, _compute_words(prices))
    yield _data(per_day, prices)
    yield from _telemetry(per_day, prices, is_always_on=False)


def _function(per_day: int, prices: Prices) -> Iterator[Line]:
    usd = prices.prices["lambda_compute"].of(_gb_seconds(per_day, prices))
    yield Line("compute", 0.0, usd, f"{_compute_words(prices)}; 400,000 GB-seconds free")
    millions = per_day * prices.days_per_month / 1e6
    usd = prices.prices["lambda_requests"].of(millions)
    yield Line("requests", 0.0, usd, f"{millions:g} million, the first free")
    kb = prices.assumptions["function_log_kb"]
    usd = prices.prices["log_ingestion"].of(millions * kb)  # a million kB is a GB
    yield Line("log", 0.0, usd, f"{kb:g} kB a call; {prices.reasons['function_log_kb']}")


def _data(per_day: int, prices: Prices) -> Line:
    kb = prices.assumptions["request_kb"]
    gb = per_day * prices.days_per_month * kb / 1e6
    text = f"{gb:g} GB of images, {kb:g} kB each"
    return Line("data", 0.0, prices.prices["sagemaker_data"].of(gb), text)


def _telemetry(per_day: int, prices: Prices, is_always_on: bool) -> Iterator[Line]:
    """Yield what the endpoint's image tells: metrics, and the prediction log's parts in S3."""
    assumed = prices.assumptions
    usd = prices.prices["custom_metric"].of(assumed["endpoint_metrics"])
    idle_usd = usd if is_always_on else 0.0
    text = f"{assumed['endpoint_metrics']:g} metrics, 10 free; {prices.reasons['endpoint_metrics']}"
    yield Line("metrics", idle_usd, usd if per_day else idle_usd, text)
    kb = per_day * prices.days_per_month * assumed["logged_share"] * assumed["logged_kb"]
    usd = prices.prices["s3_storage"].of(kb / 1e6)
    yield Line("prediction log", 0.0, usd, f"{kb / 1e6:.3g} GB a month, kept one month")


def _gb_seconds(per_day: int, prices: Prices) -> float:
    assumed = prices.assumptions
    seconds = per_day * prices.days_per_month * assumed["request_ms"] / 1000
    return seconds * assumed["function_gb"]


def _compute_words(prices: Prices) -> str:
    assumed = prices.assumptions
    return f"{assumed['request_ms']:g} ms a prediction, {assumed['function_gb']:g} GB"


def _sums(lines: Iterable[Line]) -> tuple[float, float]:
    lines = list(lines)
    return sum(line.idle_usd for line in lines), sum(line.used_usd for line in lines)


def _show_json(
    shared: Sequence[Line],
    bills: Mapping[str, Sequence[Line]],
    run: RunCost,
    prices: Prices,
    per_day: int,
    out: TextIO,
) -> None:
    answer = {
        "region": prices.region,
        "prices_taken": prices.taken,
        "predictions_per_day": per_day,
        "shared": [asdict(line) for line in shared],
        "targets": {target: _bill(shared, lines) for target, lines in bills.items()},
        "run": {
            "on_demand_usd": run.on_demand_usd,
            "spot_usd": run.usd,
            "jobs": [asdict(job) for job in run.jobs],
        },
    }
    out.write(json.dumps(answer, indent=2) + "\n")


def _bill(shared: Sequence[Line], lines: Sequence[Line]) -> Json:
    idle_usd, used_usd = _sums([*shared, *lines])
    return {"idle_usd": idle_usd, "used_usd": used_usd, "lines": [asdict(line) for line in lines]}


def _show(
    shared: Sequence[Line],
    bills: Mapping[str, Sequence[Line]],
    run: RunCost,
    prices: Prices,
    per_day: int,
    out: TextIO,
) -> None:
    out.write(
        f"USD a month, {prices.region}, list prices written down {prices.taken} "
        "(shared/pipeline/prices.yaml)\n\n"
    )
    out.write(f"{'':<26}{'idle':>10}{f'{per_day:,} a day':>18}   rests on\n")
    _show_lines("whatever serves", shared, out)
    for target, lines in bills.items():
        _show_lines(target, lines, out)
    out.write("\nin all\n")
    for target, lines in bills.items():
        idle_usd, used_usd = _sums([*shared, *lines])
        out.write(f"  {target:<24}{idle_usd:>10.2f}{used_usd:>18.2f}\n")
    _show_run(run, out)


def _show_lines(title: str, lines: Sequence[Line], out: TextIO) -> None:
    out.write(f"{title}\n")
    for line in lines:
        figures = f"{line.idle_usd:>10.2f}{line.used_usd:>18.2f}"
        out.write(f"  {line.item:<24}{figures}   {line.rests_on}\n")


def _show_run(run: RunCost, out: TextIO) -> None:
    out.write(f"\na training run: {run}\n")
    for job in run.jobs:
        spot = "" if job.spot_usd is None else f", spot {job.spot_usd:.2f}"
        machines = f"{job.count} x {job.instance_type} for {job.max_hours:g} h"
        out.write(f"  {job.name:<24}{job.on_demand_usd:>10.2f}   {machines}{spot}\n")
