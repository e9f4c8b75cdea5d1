"""An account as the function sees it: S3 and Parameter Store (moto), pipelines with tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import boto3

from components.retrain.decide import Outcome, Wake
from components.retrain.handler import Clients, Look, Settings
from components.retrain.tests.labels import manifest_of
from shared.component.annotation_manifest import Current, fingerprint

SETTINGS = Settings("visionloop-dev", "data", "artifacts", "/visionloop/dev/operator", 300)
LATER_S = 4_000_000_000.0  # long after anything that a test writes


class Pipelines:
    """SageMaker's executions as documented: a token that was seen gives the same execution."""

    def __init__(self) -> None:
        self.executions: list[dict[str, Any]] = []
        self.tokens: dict[str, str] = {}
        self.crash_after_start = False
        self.lists_late = False
        self.refuses = False
        self.refusal: Exception | None = None  # of a listing
        self.approved: list[int] = []  # versions of model packages

    def start_pipeline_execution(self, **request: Any) -> dict[str, str]:
        if self.refuses:
            raise ConnectionError("no answer")
        token = request["ClientRequestToken"]
        if token not in self.tokens:
            self.tokens[token] = f"arn:execution/{len(self.executions)}"
            self.executions.append(
                {
                    "PipelineExecutionArn": self.tokens[token],
                    "PipelineExecutionStatus": "Executing",
                    "PipelineExecutionDisplayName": request["PipelineExecutionDisplayName"],
                    "parameters": {p["Name"]: p["Value"] for p in request["PipelineParameters"]},
                }
            )
        if self.crash_after_start:
            self.crash_after_start = False
            raise ConnectionError("the answer was lost")
        return {"PipelineExecutionArn": self.tokens[token]}

    def describe_pipeline_execution(self, PipelineExecutionArn: str) -> dict[str, Any]:  # noqa: N803
        (found,) = (e for e in self.executions if e["PipelineExecutionArn"] == PipelineExecutionArn)
        return found

    def get_paginator(self, name: str) -> Pipelines:
        assert name in ("list_pipeline_executions", "list_model_packages")
        return self

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        if "ModelPackageGroupName" in request:
            assert request["ModelPackageGroupName"] == SETTINGS.pipeline
            assert request["ModelApprovalStatus"] == "Approved"
            for version in self.approved:  # a page each, in no order
                arn = f"arn:package/{version}"
                summary = {"ModelPackageArn": arn, "ModelPackageVersion": version}
                yield {"ModelPackageSummaryList": [summary]}
            return
        assert request["PipelineName"] == SETTINGS.pipeline
        if self.refusal:
            raise self.refusal
        listed = [] if self.lists_late else reversed(self.executions)
        for execution in listed:  # a page each
            yield {"PipelineExecutionSummaries": [execution]}

    def describe_model_package(self, ModelPackageName: str) -> dict[str, Any]:  # noqa: N803
        url = f"s3://artifacts/model-{ModelPackageName.rpartition('/')[2]}.tar.gz"
        return {"InferenceSpecification": {"Containers": [{"ModelDataUrl": url}]}}

    def end(self, status: str = "Succeeded") -> None:
        for execution in self.executions:
            if execution["PipelineExecutionStatus"] == "Executing":
                execution["PipelineExecutionStatus"] = status


class World:
    """The account as the function sees it."""

    def __init__(self) -> None:
        self.clients = Clients(
            boto3.client("s3", "us-east-1"), boto3.client("ssm", "us-east-1"), Pipelines()
        )
        self.pipelines: Pipelines = self.clients.sagemaker
        self.now_s = LATER_S
        self.labels: dict[str, str] = {}
        for bucket in ("data", "artifacts"):
            self.clients.s3.create_bucket(Bucket=bucket)

    def put(self, key: str, text: str = "") -> None:
        self.clients.s3.put_object(Bucket="data", Key=key, Body=text.encode())

    def annotate(self, numbers: range, text: str = "") -> None:
        """Label images as the merge does: what was labelled before stays in the manifest."""
        self.labels |= {f"{number:064x}": f"sea {text}" for number in numbers}
        data = manifest_of(self.labels).encode()
        current = Current(fingerprint(data), len(self.labels))
        self.put(f"labels/{current.manifest}", data.decode())
        self.put("labels/current.json", current.encode().decode())

    def tune(self, name: str, value: str) -> None:
        self.clients.ssm.put_parameter(
            Name=f"{SETTINGS.operator_path}/{name}", Value=value, Type="String", Overwrite=True
        )

    def state_etag(self) -> str:
        found = self.clients.s3.head_object(Bucket="artifacts", Key="retrain/state.json")
        return f"{found['ETag']} {found['LastModified']}"

    def reads(self) -> list[str]:
        """Return a list that gets the key of each manifest that is read from now on."""
        read: list[str] = []

        def note(params: Mapping[str, Any], **_: object) -> None:
            if re.fullmatch(r"labels/[0-9a-f]{64}\.json", params["Key"]):
                read.append(params["Key"])

        self.clients.s3.meta.events.register("before-parameter-build.s3.GetObject", note)
        return read

    def look(self, wake: Wake = Wake.LABELS, **given: Any) -> Outcome:
        return Look(self.clients, SETTINGS, lambda: self.now_s).run([wake], **given).outcome
