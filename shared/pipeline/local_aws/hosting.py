"""SageMaker's endpoint, endpoint config and model, from serving.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shared.pipeline.execution import local_arn
from shared.pipeline.local_aws.call import Call, Json, Operations, moment, without_empty
from shared.pipeline.local_aws.errors import invalid
from shared.pipeline.local_aws.serving import Deployment, Serving
from shared.pipeline.settings import NO_ACCOUNT

VARIANT = "AllTraffic"


@dataclass(frozen=True)
class Hosting:
    """Describes what serves."""

    home: Path
    region: str

    @property
    def operations(self) -> Operations:
        return {
            "DescribeEndpoint": self.describe_endpoint,
            "DescribeEndpointConfig": self.describe_config,
            "DescribeModel": self.describe_model,
        }

    def describe_endpoint(self, call: Call) -> Json:
        name = call.name("EndpointName")
        serving = Serving.load(self.home)
        if serving is None or serving.endpoint != name:
            raise invalid(f'Could not find endpoint "{local_arn("endpoint", name, self.region)}".')
        shown = serving.current or serving.pending
        count = 1 if serving.status in ("InService", "Updating") else 0
        variant = {
            "VariantName": VARIANT,
            "CurrentWeight": 1.0,
            "DesiredWeight": 1.0,
            "CurrentInstanceCount": count,
            "DesiredInstanceCount": 1,
        }
        answer: Json = {
            "EndpointName": name,
            "EndpointArn": local_arn("endpoint", name, self.region),
            "EndpointConfigName": shown.name(name) if shown else None,
            "ProductionVariants": [variant],
            "EndpointStatus": serving.status,
            "FailureReason": serving.failure,
            "CreationTime": moment(serving.created),
            "LastModifiedTime": moment(serving.modified),
        }
        if serving.status == "Updating" and serving.pending:
            pending = {"EndpointConfigName": serving.pending.name(name)}
            answer["PendingDeploymentSummary"] = pending
        return without_empty(answer)

    def describe_config(self, call: Call) -> Json:
        name = call.name("EndpointConfigName")
        found = self._find(name, "endpoint configuration", "endpoint-config")
        variant = {
            "VariantName": VARIANT,
            "ModelName": name,
            "InitialInstanceCount": 1,
            "InitialVariantWeight": 1.0,
        }
        return {
            "EndpointConfigName": name,
            "EndpointConfigArn": local_arn("endpoint-config", name, self.region),
            "ProductionVariants": [variant],
            "CreationTime": moment(found.created),
        }

    def describe_model(self, call: Call) -> Json:
        name = call.name("ModelName")
        found = self._find(name, "model", "model")
        return {
            "ModelName": name,
            "ModelArn": local_arn("model", name, self.region),
            "PrimaryContainer": {
                "ModelDataUrl": found.model_data_url,
                "ModelPackageName": found.package,
            },
            "ExecutionRoleArn": f"arn:aws:iam::{NO_ACCOUNT}:role/visionloop",
            "CreationTime": moment(found.created),
        }

    def _find(self, name: str, what: str, kind: str) -> Deployment:
        serving = Serving.load(self.home)
        for deployment in serving.known if serving else ():
            if serving and deployment.name(serving.endpoint) == name:
                return deployment
        raise invalid(f'Could not find {what} "{local_arn(kind, name, self.region)}".')
