"""The pages with an AWS of a test's own behind them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.web.tests.house import House, open_house
from components.web.tests.operator import documents
from components.web.tests.operator.aws import BEGAN, Fake, Json, Services, Store, serving

PATH = "/visionloop/dev/operator"


def parameter_store() -> Fake:
    """Return a Parameter Store that keeps what is put."""
    kept: dict[str, Json] = {}

    def put(Name: str, Value: str, **_: Any) -> Json:  # noqa: N803 - AWS's names
        version = kept.get(Name, {}).get("Version", 0) + 1
        said = {"Version": version, "LastModifiedDate": BEGAN}
        kept[Name] = {"Name": Name, "Value": Value} | said
        return {"Version": version}

    return Fake(
        "ssm",
        put_parameter=put,
        get_parameters_by_path=lambda **_: {"Parameters": list(kept.values())},
    )


def busy_house(tmp_path: Path, s3_root: Path, store: Store | None = None, **more: Any) -> House:
    """Return pages of a stage where everything has happened once."""
    store = store or Store(endpoint=serving(2))
    for version, status in ((1, "Approved"), (2, "Approved"), (3, "PendingManualApproval")):
        store.add_package(version, status)
        folder = f"s3://bucket/scenes/run{version}/Register/report"
        documents.write(s3_root, f"{folder}/report.json", documents.REPORT)
        documents.write(s3_root, f"{folder}/statistics.json", documents.STATISTICS)
        documents.write(s3_root, f"{folder}/index.html", "<html>the report</html>")
    evaluation = "s3://bucket/scenes/evaluate/metrics/evaluation.json"
    documents.write(s3_root, evaluation, documents.REPORT)
    documents.write(s3_root, "s3://bucket/scenes/preprocess/report/report.json", documents.DATA)
    documents.write(s3_root, "s3://bucket/scenes/preprocess/report/report.html", "<html>")
    documents.write(s3_root, "s3://bucket/merge/report.json", documents.MERGED)
    lines = {
        "events": [{"timestamp": 1000, "message": "epoch=1 <script>"}],
        "nextBackwardToken": "b/1",
    }
    logs = Fake(
        "logs",
        describe_log_streams={"logStreams": [{"logStreamName": "j-train/algo-1"}]},
        get_log_events=lines,
    )
    services = Services(store.sagemaker(), ssm=parameter_store(), logs=logs)
    places = {
        "name": "scenes",
        "operator_path": PATH,
        "sink": str(tmp_path / "sink"),
        "audit_log": str(tmp_path / "audit"),
        "label_report": "s3://bucket/merge",
        "raw": "s3://data/raw",
    }
    return open_house(services, **places | more)
