"""The month's bill follows the templates, the predictions and the price file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ci import cost
from ci.errors import TemplateError
from ci.problems import REPOSITORY
from ci.templates import load_template, load_templates, substituted
from shared.component.errors import UsageError
from shared.pipeline.cost import load_prices

ALARM = {"Type": "AWS::CloudWatch::Alarm", "Properties": {"MetricName": "Errors"}}
STAT = {"Id": "a", "MetricStat": {}}


def _template(**resources: Any) -> dict[str, Any]:
    return {"stack": {"Resources": resources}}


def _line(lines: list[cost.Line], item: str) -> cost.Line:
    return next(line for line in lines if line.item == item)


def _alarms_usd(**resources: Any) -> float:
    return _line(cost.base_lines(_template(**resources), load_prices()), "alarm_metric").idle_usd


def test_an_alarm_more_raises_the_figure_beyond_the_free_ten() -> None:
    ten = {f"Alarm{number}": ALARM for number in range(10)}
    assert _alarms_usd(**ten) == 0
    assert _alarms_usd(**ten, More=ALARM) == pytest.approx(0.10)


def test_an_alarm_of_an_expression_is_paid_by_its_metrics() -> None:
    share = {
        "Type": "AWS::CloudWatch::Alarm",
        "Properties": {"Metrics": [{"Id": "e", "Expression": "a/b"}, STAT, STAT]},
    }
    ten = {f"Alarm{number}": ALARM for number in range(10)}
    assert _alarms_usd(**ten, Share=share) == pytest.approx(0.20)


def test_a_key_is_paid_and_a_bucket_is_not() -> None:
    lines = cost.base_lines(
        _template(Key={"Type": "AWS::KMS::Key"}, Bucket={"Type": "AWS::S3::Bucket"}), load_prices()
    )
    assert _line(lines, "kms_key").idle_usd == 1
    assert {line.item for line in lines} == {"kms_key", "s3_storage", "ecr_storage"}


def test_a_type_whose_price_nobody_looked_at_stops_the_command() -> None:
    made = _template(Gateway={"Type": "AWS::EC2::NatGateway"})
    with pytest.raises(TemplateError, match=r"stack\.yaml: Gateway is a AWS::EC2::NatGateway"):
        cost.base_lines(made, load_prices())


def test_a_price_that_is_looked_up_is_in_the_file() -> None:
    prices = load_prices()
    for target in cost.TARGETS:
        assert cost.target_lines(target, 1000, prices)
    assert {price for price, _ in prices.resources.values()} <= set(prices.prices)


def test_nothing_in_the_price_file_is_there_for_nothing() -> None:
    prices = load_prices()
    read = (REPOSITORY / "ci/cost.py").read_text() + (
        REPOSITORY / "shared/pipeline/cost.py"
    ).read_text()
    listed = {*prices.prices, *prices.assumptions} - {p for p, _ in prices.resources.values()}
    unread = {name for name in listed if f'"{name}"' not in read and f"'{name}'" not in read}
    assert unread == {"queue_polls_m"}  # named by a resource


def test_the_stacks_cost_less_than_five_usd_a_month_idle(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cost.main(["--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    for target in ("lambda", "serverless"):
        assert 1 < answer["targets"][target]["idle_usd"] < 5
    assert 70 < answer["targets"]["endpoint"]["idle_usd"] < 110


@pytest.mark.parametrize("target", cost.TARGETS)
def test_more_predictions_cost_more_and_idle_stays(target: str) -> None:
    prices = load_prices()
    sums = [
        (
            sum(line.idle_usd for line in lines),
            sum(line.used_usd for line in lines),
        )
        for lines in (cost.target_lines(target, n, prices) for n in (0, 10_000, 1_000_000))
    ]
    assert sums[0][0] == sums[0][1] == sums[1][0] == sums[2][0]
    assert sums[0][1] <= sums[1][1] < sums[2][1]  # ten thousand a day are free on Lambda


def test_a_million_a_day_is_of_the_order_that_was_reckoned_by_hand() -> None:
    prices = load_prices()
    used = {
        target: sum(line.used_usd for line in cost.target_lines(target, 1_000_000, prices))
        for target in cost.TARGETS
    }
    # 30 million x 0.08 s x 2 GB = 4.8 million GB-seconds: 73 and 96 USD; two machines: 168.
    assert used["lambda"] == pytest.approx(79, abs=5)
    assert used["serverless"] == pytest.approx(153, abs=10)
    assert used["endpoint"] == pytest.approx(225, abs=15)


def test_instances_are_counted_for_the_peak() -> None:
    prices = load_prices()
    a_day = int(prices.assumptions["instance_per_s"] * 86400 / prices.assumptions["peak"])
    month = prices.instance("ml.m5.large") * prices.hours_per_month
    for per_day, count in ((a_day, 1), (a_day + 100, 2)):
        line = _line(cost.target_lines("endpoint", per_day, prices), "instances")
        assert line.used_usd == pytest.approx(count * month)


def test_the_table_says_what_each_line_rests_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert cost.main(["--target", "lambda", "--predictions-per-day", "1000000"]) == 0
    out = capsys.readouterr().out
    assert "80 ms a prediction, 2 GB" in out
    assert "1,000,000 a day" in out
    assert "written down 20" in out
    assert "a training run: at most" in out
    assert "endpoint" not in out


def test_a_negative_number_of_predictions_is_refused() -> None:
    with pytest.raises(UsageError, match="is negative"):
        cost.main(["--predictions-per-day", "-1"])


def test_short_forms_are_read_as_long_ones(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(
        "Resources:\n  A:\n    Type: T\n    V: 2012-10-17\n    R: !Ref B\n    G: !GetAtt C.Arn.X\n"
        "    S: !Sub '${Project}-a'\n    J: !Join ['-', [!Ref B, c]]\n"
    )
    read = load_template(path)["Resources"]["A"]
    assert read["V"] == "2012-10-17"
    assert read["G"] == {"Fn::GetAtt": ["C", "Arn.X"]}
    assert read["J"] == {"Fn::Join": ["-", [{"Ref": "B"}, "c"]]}
    assert substituted(read["S"], {"Project": "p"}) == "p-a"
    assert substituted(read["R"], {"B": "x"}) == "x"


def test_what_is_no_template_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text("- a\n")
    with pytest.raises(TemplateError, match="has no Resources"):
        load_template(path)
    with pytest.raises(TemplateError, match="cannot be read"):
        load_template(tmp_path / "none.yaml")


def test_templates_come_in_the_order_of_deployment(tmp_path: Path) -> None:
    folder = tmp_path / "ci/stacks"
    folder.mkdir(parents=True)
    for name in ("web", "observe", "foundation", "registry"):
        (folder / f"{name}.yaml").write_text("Resources: {}\n")
    assert list(load_templates(tmp_path)) == ["foundation", "registry", "observe", "web"]
