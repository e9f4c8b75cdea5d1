"""Charts are legible alone: axes, units, words for those who do not see them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta

import pytest

from components.web.operator import charts
from components.web.operator.charts import Axis, Chart, Line
from components.web.operator.live import Live, Point, Series, Threshold
from components.web.operator.live_charts import class_shares, last_values, live_charts

X = Axis(0, 10, [(0, "0"), (10, "10")], "hours")
NAMESPACE = "{http://www.w3.org/2000/svg}"


def chart(*lines: Line, **more) -> Chart:
    usual = {"x": X, "y": charts.linear("ms", charts.maximum(lines)), "step": 1.0}
    return Chart("Latency", "How long.", list(lines), **usual | more)


def parsed(one: Chart) -> ET.Element:
    text = str(one.svg()).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return ET.fromstring(text)  # noqa: S314 - our own


def test_a_chart_is_well_formed_and_names_itself():
    svg = parsed(chart(Line("p50", [(0, 1), (1, 2)])))
    assert svg.get("role") == "img"
    ids = svg.get("aria-labelledby").split()
    assert [svg.find(f"{NAMESPACE}{tag}").get("id") for tag in ("title", "desc")] == ids
    words = [text.text for text in svg.iter(f"{NAMESPACE}text")]
    assert "ms" in words
    assert "hours" in words


def test_names_of_classes_are_escaped_and_nothing_is_styled_inline():
    svg = str(chart(Line("<b>", [(0, 1)]), x=Axis(0, 1, [(0, "<i>")], "&")).svg())
    assert "<i>" not in svg
    assert "style=" not in svg
    ET.fromstring(svg)  # noqa: S314


def test_a_gap_breaks_the_line_and_a_lonely_point_is_a_dot():
    svg = parsed(chart(Line("a", [(0, 1), (1, 1), (5, 1), (9, 2), (10, 2)])))
    (path,) = svg.findall(f"{NAMESPACE}path")
    assert path.get("d").count("M") == 3
    assert len(svg.findall(f"{NAMESPACE}circle")) == 2  # the lonely one and the last


def test_an_alarm_has_a_shape_of_its_own_and_a_limit_its_word():
    one = chart(
        Line("p-value", [(0, 1e-3), (1, 0.5)], frozenset({0})),
        y=charts.decades("p-value", [1e-3, 0.5]),
        is_log=True,
        limits=[(0.05, "threshold 0.05")],
    )
    svg = parsed(one)
    assert [p for p in svg.iter(f"{NAMESPACE}path") if p.get("class") == "alarm"]
    assert "- - threshold 0.05" in [t.text for t in svg.iter(f"{NAMESPACE}text")]


def test_bars_stand_on_one_another():
    lines = [Line("a", [(0, 2), (1, 1)]), Line("b", [(0, 3)])]
    assert charts.maximum(lines, "bars") == [5, 1]
    one = chart(*lines, kind="bars", y=charts.linear("images", [5, 1]))
    first, _, second = parsed(one).findall(f"{NAMESPACE}rect")
    below = float(second.get("y")) + float(second.get("height"))
    assert below == pytest.approx(float(first.get("y")), abs=0.11)
    assert [name for name, _ in one.keys] == ["a", "b"]


@pytest.mark.parametrize(
    ("values", "high", "count"),
    [([0.7], 0.8, 5), ([9], 10, 5), ([], 1, 5), ([100], 100, 5), ([1234], 1500, 4)],
)
def test_axes_end_at_round_numbers(values, high, count):
    axis = charts.linear("ms", values)
    assert axis.high == pytest.approx(high)
    assert len(axis.ticks) == count


def test_a_p_value_of_nothing_has_a_place_at_the_bottom():
    axis = charts.decades("p", [0.0, 1e-30])
    assert axis.low == pytest.approx(1e-12)
    assert axis.ticks[-1][1].startswith("1e-")


UNTIL = datetime(2026, 11, 29, 17, 8, tzinfo=UTC)


def some(name: str, *values: float) -> Series:
    begin = UNTIL.replace(minute=0) - timedelta(hours=1)
    points = [Point(time=begin + timedelta(minutes=15 * n), value=v) for n, v in enumerate(values)]
    return Series(name=name, points=points)


def live(hours: int = 24, **more) -> Live:
    names = ("requests", "images", "dropped", "entropy", "p_value", "is_drift", "window")
    lists = ("latency_p50", "latency_p99", "errors", "statuses", "confidence", "classes")
    empty = {name: Series(name=name, points=[]) for name in names} | {name: [] for name in lists}
    known = {"endpoint": "scenes", "source": "a test", "hours": hours, "period_s": 900}
    return Live(**{**empty, **known, "until": UNTIL, **more})


def test_only_what_was_measured_is_drawn():
    assert live_charts(live()) == []
    titles = [c.title for c in live_charts(live(requests=some("Requests", 1, 2)))]
    assert titles == ["Requests"]


def test_the_page_draws_all_there_is():
    found = live_charts(
        live(
            requests=some("Requests", 1, 2),
            dropped=some("TelemetryDropped", 0, 3),
            entropy=some("Entropy", 0.5),
            p_value=some("DriftPValue", 0.4, 1e-5),
            is_drift=some("IsDrift", 0, 1),
            thresholds=[Threshold(name="threshold of the test", value=0.046)],
            confidence=[some("median", 0.8), some("lower tenth", 0.5)],
            latency_p50=[some("total", 10), some("queue")],
            latency_p99=[some("total", 30)],
            errors=[some("ImageError", 1)],
            classes=[some(f"class {n}", 8 - n) for n in range(8)],
        )
    )
    assert [c.title for c in found] == [
        "Drift",
        "Confidence",
        "Answers by class",
        "Requests",
        "Latency, p50",
        "Latency, p99",
        "Errors",
        "Entropy",
        "Telemetry lost",
    ]
    drift, _, classes, *_ = found
    assert drift.lines[0].marked == {1}
    assert drift.limits == [(0.046, "threshold of the test 0.046")]
    assert [line.name for line in classes.lines][-1] == "3 others"
    assert [line.name for line in found[4].lines] == ["total"]
    for one in found:
        parsed(one)


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        (1, ["16:15", "16:30", "16:45", "17:00"]),
        (24, ["18:00", "00:00", "06:00", "12:00"]),
        (168, ["Mon 23", "Tue 24", "Wed 25", "Thu 26", "Fri 27", "Sat 28", "Sun 29"]),
    ],
)
def test_the_axis_of_time_has_round_hours(hours, words):
    (one,) = live_charts(live(hours, requests=some("Requests", 1)))
    assert [word for _, word in one.x.ticks] == words


def test_the_table_says_the_last_values_and_what_is_wrong():
    rows = {
        row.name: row
        for row in last_values(
            live(
                requests=some("Requests", 30, 45),
                errors=[some("ImageError", 2)],
                p_value=some("p", 1e-5),
                is_drift=some("d", 1),
                window=some("w", 50),
            )
        )
    }
    assert rows["requests in this time"].value == "75"
    assert rows["requests a minute"].value == "3"
    assert rows["errors in this time"].is_alarming
    assert (rows["drift found"].value, rows["drift found"].is_alarming) == ("yes", True)
    assert rows["entropy, median"].value == "none"


def test_shares_of_classes_add_up():
    shares = class_shares(live(classes=[some("sea", 3), some("forest", 1)]))
    assert shares == [("sea", 3, 0.75), ("forest", 1, 0.25)]
    assert class_shares(live()) == []
