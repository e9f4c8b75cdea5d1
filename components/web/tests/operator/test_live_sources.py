"""Both sources of live figures answer alike: files below the sink, and CloudWatch."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from components.web.errors import Away, NotFound
from components.web.operator.cloudwatch_source import CloudWatch
from components.web.operator.emf_source import EmfFiles
from components.web.operator.live import Buckets, percentile
from components.web.tests.operator.aws import Fake, error

NOW_S = 1_800_000_030.0
DIMENSIONS = {"EndpointName": "scenes", "VariantName": "main", "ModelVersion": "2"}


def line(time_s: float, metrics: dict, namespace: str = "visionloop", **more) -> str:
    """Return a line of embedded metric format as the endpoint writes it."""
    body = {
        "_aws": {
            "Timestamp": int(time_s * 1000),
            "CloudWatchMetrics": [
                {
                    "Namespace": namespace,
                    "Dimensions": [list(DIMENSIONS)],
                    "Metrics": [{"Name": name, "Unit": "Count"} for name in metrics],
                }
            ],
        }
    }
    return json.dumps(body | DIMENSIONS | metrics | more, separators=(",", ":"))


def files_of(sink: Path, *lines: str) -> EmfFiles:
    (sink / "metrics").mkdir(parents=True, exist_ok=True)
    part = sink / "metrics" / "20270115T080000Z-00000000.jsonl"
    part.write_text("\n".join(lines))
    os.utime(part, (NOW_S, NOW_S))
    return EmfFiles("scenes", str(sink), None, lambda: NOW_S)


def test_counts_are_added_and_samples_made_percentiles(tmp_path):
    source = files_of(
        tmp_path,
        line(NOW_S - 30, {"Requests": [3], "Images": [4], "TelemetryDropped": [1]}),
        line(NOW_S - 20, {"Requests": [2], "Images": [2], "TelemetryDropped": [0]}),
        line(NOW_S - 20, {"TotalLatency": [float(n) for n in range(1, 102)]}),
        line(NOW_S - 20, {"Confidence": [0.5, 0.9]}),
        line(NOW_S - 20, {"Errors": [2.0]}, ErrorKind="ImageError"),
        line(NOW_S - 20, {"Predictions": [1.0]}, Label="sea"),
        line(NOW_S - 10, {"Predictions": [3.0]}, Label="forest"),
    )
    live = source.read(1)
    assert [p.value for p in live.requests.points] == [5.0]
    assert live.images.total == 6
    assert live.dropped.total == 1
    assert live.latency_p50[0].name == "total"
    assert live.latency_p50[0].last == 51
    assert live.latency_p99[0].last == 100
    assert live.confidence[0].last == pytest.approx(0.7)
    assert [(s.name, s.total) for s in live.errors] == [("ImageError", 2)]
    assert [s.name for s in live.classes] == ["forest", "sea"]
    assert not live.is_empty


def test_drift_has_its_threshold_and_what_was_found(tmp_path):
    metrics = {"DriftPValue": [0.001], "IsDrift": [1.0], "DriftWindow": [50.0]}
    live = files_of(tmp_path, line(NOW_S - 5, metrics, DriftThreshold=0.046)).read(1)
    assert (live.p_value.last, live.is_drift.last, live.window.last) == (0.001, 1.0, 50.0)
    assert [t.value for t in live.thresholds] == [0.046]


def test_what_is_old_foreign_or_damaged_is_left_out(tmp_path):
    source = files_of(
        tmp_path,
        line(NOW_S - 4000, {"Requests": [7]}),
        line(NOW_S - 10, {"Requests": [7]}, namespace="other"),
        '{"Timestamp":1800000000000',
        '{"_aws":{"Timestamp":1800000000000}}',
        line(NOW_S - 10, {"Requests": [float("nan"), "many", None, 0]}),
        line(NOW_S - 10, {"Requests": [1]}),
    )
    assert source.read(1).requests.total == 1
    assert source.read(6).requests.total == 8
    old = tmp_path / "metrics" / "20260101T000000Z-00000000.jsonl"
    old.write_text(line(NOW_S - 10, {"Requests": [100]}))
    os.utime(old, (0, NOW_S - 7200))
    assert source.read(1).requests.total == 1  # not written since


@pytest.mark.parametrize("hours", [1, 6, 24, 168])
def test_before_the_first_request_there_is_nothing(tmp_path, hours):
    live = EmfFiles("scenes", str(tmp_path / "none"), None, lambda: NOW_S).read(hours)
    assert live.is_empty
    idle = files_of(tmp_path, line(NOW_S - 10, {"Requests": [0], "Images": [0]}))
    assert idle.read(hours).is_empty


def test_without_a_sink_that_is_said():
    with pytest.raises(NotFound, match="--sink"):
        EmfFiles("scenes", "", None, lambda: NOW_S).read(1)


def series(label: str, *values: float) -> dict:
    begin = datetime.fromtimestamp(NOW_S - 600, UTC)
    times = [begin + timedelta(minutes=n) for n in range(len(values))]
    return {"Id": "x", "Label": label, "Timestamps": times, "Values": list(values)}


ALARM = {
    "AlarmName": "scenes-drift-p-value",
    "StateValue": "ALARM",
    "StateReason": "below",
    "Threshold": 1e-6,
}


def cloudwatch_of(*results: dict, **answers) -> tuple[CloudWatch, Fake]:
    usual = {
        "get_metric_data": [{"MetricDataResults": [each]} for each in results]
        or {"MetricDataResults": []},
        "describe_alarms": {"MetricAlarms": [ALARM]},
    }
    fake = Fake("cloudwatch", **usual | answers)
    return CloudWatch("scenes", fake, lambda: NOW_S), fake


def test_versions_of_one_time_are_put_together():
    source, _ = cloudwatch_of(
        series("Sum|Requests|", 3, 4),
        series("Sum|Requests|", 1, 0),  # the version before
        series("p99|TotalLatency|", 20, 30),
        series("p99|TotalLatency|", 25, 10),
        series("p50|TotalLatency|", 5),
        series("Sum|Predictions|sea", 2),
        series("Sum|Errors|ImageError", 1),
        series("p50|Confidence|", 0.8),
        series("p10|Confidence|", 0.4),
        series("Minimum|DriftPValue|", 1e-7),
        series("Maximum|IsDrift|", 1),
    )
    live = source.read(1)
    assert [p.value for p in live.requests.points] == [4, 4]
    assert [p.value for p in live.latency_p99[0].points] == [25, 30]
    assert live.latency_p50[0].last == 5
    assert [(s.name, s.total) for s in live.classes] == [("sea", 2)]
    assert live.errors[0].name == "ImageError"
    assert [s.last for s in live.confidence] == [0.8, 0.4]
    assert live.p_value.last == 1e-7
    assert live.thresholds[0].value == 1e-6
    assert [(a.name, a.state) for a in live.alarms] == [("scenes-drift-p-value", "ALARM")]


def test_searches_name_the_endpoint_and_its_dimensions():
    source, fake = cloudwatch_of()
    assert source.read(24).is_empty
    asked = fake.requests("get_metric_data")[0]
    queries = {query["Id"]: query for query in asked["MetricDataQueries"]}
    assert queries["errors"]["Expression"] == (
        "SEARCH('{visionloop,EndpointName,VariantName,ModelVersion,ErrorKind} "
        'EndpointName="scenes" MetricName=("Errors")\', \'Sum\', 900)'
    )
    stat = queries["driftpvalue_minimum"]["MetricStat"]
    assert stat["Stat"] == "Minimum"
    assert stat["Metric"]["Dimensions"][0] == {"Name": "EndpointName", "Value": "scenes"}
    assert asked["EndTime"] - asked["StartTime"] == timedelta(hours=24)


def test_pages_that_renew_themselves_are_not_billed_each_time():
    now_s = [NOW_S]
    _, fake = cloudwatch_of()
    source = CloudWatch("scenes", fake, lambda: now_s[0])
    for later_s in (0, 10, 29, 31):
        now_s[0] = NOW_S + later_s
        source.read(1)
    source.read(6)
    assert len(fake.requests("get_metric_data")) == 3


def test_a_cloudwatch_that_is_away_is_said_to_be():
    source, _ = cloudwatch_of(get_metric_data=error("InternalServiceFault", "oh", "GetMetricData"))
    with pytest.raises(Away, match="GetMetricData failed"):
        source.read(1)


def test_periods_begin_at_multiples_of_their_length():
    buckets = Buckets(since_s=1000, period_s=300)
    buckets.add("m", "", 899, [1])
    buckets.add("m", "", 900, [2])
    buckets.add("m", "", 1250, [3])
    assert [p.time.timestamp() for p in buckets.series("m", sum).points] == [900, 1200]


def test_a_percentile_lies_between_its_neighbours():
    assert percentile([1, 2, 3, 4], 0.5) == 2.5
    assert percentile([7], 0.99) == 7
