"""SageMaker as far as deployments use it, with UpdateEndpoint, which moto lacks.

Behaviour from the API reference: an endpoint is Creating or Updating for some looks at it;
an update keeps the old config until it ends; a name is taken once; what is in use stays.
docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateEndpoint.html
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
Brain = Callable[[bytes], Json]  # an encoded image in, a prediction out


class RefusalError(Exception):
    """An error that AWS answers with."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


def missing(what: str) -> RefusalError:
    return RefusalError("ValidationException", f"Could not find {what}.")


def answer(brain: Brain, body: bytes) -> Json:
    """Return the document that our images answer one instance with."""
    (instance,) = json.loads(body)["instances"]
    said = brain(base64.b64decode(instance["b64"]))
    return {"predictions": [said], "model_version": "1", "request_id": "1", "is_drift": None}


@dataclass
class FakeSageMaker:
    """One account's models, configs, endpoints, packages and scaling.

    brains: how the model of a model.tar.gz answers, by its URI.
    looks: how often an endpoint is looked at until a change of it is done.
    update_ends: "" well; rolled_back: AWS's alarms took it back; stuck: and failed at that.
    on_update: called when an update begins.
    refuses: an action that the account's limits do not allow.
    """

    brains: dict[str, Brain]
    looks: int = 1
    update_ends: str = ""
    creation_fails: str = ""
    refuses: str = ""
    on_update: Callable[[], None] = lambda: None
    packages: dict[str, Json] = field(default_factory=dict)
    models: dict[str, Json] = field(default_factory=dict)
    configs: dict[str, Json] = field(default_factory=dict)
    endpoints: dict[str, Json] = field(default_factory=dict)
    scalable: dict[str, Json] = field(default_factory=dict)
    policies: dict[str, Json] = field(default_factory=dict)
    calls: list[tuple[str, Json]] = field(default_factory=list)

    def call(self, action: str, given: Json) -> Json:
        """Do what an action of the API asks."""
        self.calls.append((action, given))
        if action == self.refuses:
            raise RefusalError("ResourceLimitExceeded", "The account-level limit is 0.")
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", action).lower()
        answer: Json = getattr(self, f"_{name}")(given)
        return answer

    def asked(self, action: str) -> list[Json]:
        """Return what an action was given, each time."""
        return [given for done, given in self.calls if done == action]

    def invoke(self, endpoint: str, body: bytes, attributes: str) -> Json:
        """Answer as the inference image does."""
        assert attributes == "record=false"
        found = self.endpoints.get(endpoint)
        if found is None or found["EndpointStatus"] in ("Creating", "Failed", "Deleting"):
            raise RefusalError("ValidationError", f"Endpoint {endpoint} not found")
        (variant,) = self.configs[found["EndpointConfigName"]]["ProductionVariants"]
        arn = self.models[variant["ModelName"]]["PrimaryContainer"]["ModelPackageName"]
        (container,) = self.packages[arn]["InferenceSpecification"]["Containers"]
        return answer(self.brains[container["ModelDataUrl"]], body)

    def _describe_model_package(self, given: Json) -> Json:
        if given["ModelPackageName"] not in self.packages:
            raise RefusalError("ValidationException", "ModelPackage arn does not exist.")
        return self.packages[given["ModelPackageName"]]

    def _list_model_packages(self, given: Json) -> Json:
        kept = ("ModelPackageArn", "ModelPackageVersion", "ModelApprovalStatus", "CreationTime")
        found = [
            {key: package[key] for key in kept} | {"ModelPackageStatus": "Completed"}
            for package in self.packages.values()
            if package["ModelPackageGroupName"] == given["ModelPackageGroupName"]
            and package["ModelApprovalStatus"] == given["ModelApprovalStatus"]
        ]
        return {"ModelPackageSummaryList": found}

    def _create_model(self, given: Json) -> Json:
        self._take(self.models, given["ModelName"], given, "model")
        return {"ModelArn": f"arn:aws:sagemaker:us-east-1:123456789012:model/{given['ModelName']}"}

    def _describe_model(self, given: Json) -> Json:
        return self._find(self.models, given["ModelName"], "model") | {
            "CreationTime": 1.0,
            "ModelArn": "arn:aws:sagemaker:us-east-1:123456789012:model/x",
        }

    def _delete_model(self, given: Json) -> Json:
        self._find(self.models, given["ModelName"], "model")
        del self.models[given["ModelName"]]
        return {}

    def _list_models(self, given: Json) -> Json:
        names = [name for name in self.models if given["NameContains"] in name]
        arn = "arn:aws:sagemaker:us-east-1:123456789012:model/"
        return {
            "Models": [{"ModelName": n, "ModelArn": arn + n, "CreationTime": 1.0} for n in names]
        }

    def _create_endpoint_config(self, given: Json) -> Json:
        self._find(self.models, given["ProductionVariants"][0]["ModelName"], "model")
        self._take(self.configs, given["EndpointConfigName"], given, "endpoint configuration")
        return {"EndpointConfigArn": "arn:aws:sagemaker:us-east-1:123456789012:endpoint-config/x"}

    def _describe_endpoint_config(self, given: Json) -> Json:
        name = given["EndpointConfigName"]
        return self._find(self.configs, name, "endpoint configuration") | {
            "CreationTime": 1.0,
            "EndpointConfigArn": "arn:aws:sagemaker:us-east-1:123456789012:endpoint-config/x",
        }

    def _delete_endpoint_config(self, given: Json) -> Json:
        name = given["EndpointConfigName"]
        self._find(self.configs, name, "endpoint configuration")
        assert name not in {e["EndpointConfigName"] for e in self.endpoints.values()}, "in use"
        del self.configs[name]
        return {}

    def _list_endpoint_configs(self, given: Json) -> Json:
        arn = "arn:aws:sagemaker:us-east-1:123456789012:endpoint-config/"
        return {
            "EndpointConfigs": [
                {"EndpointConfigName": n, "EndpointConfigArn": arn + n, "CreationTime": 1.0}
                for n in self.configs
                if given["NameContains"] in n
            ]
        }

    def _create_endpoint(self, given: Json) -> Json:
        self._find(self.configs, given["EndpointConfigName"], "endpoint configuration")
        endpoint = given | {
            "EndpointStatus": "Creating",
            "_looks": self.looks,
            "_next": "InService",
        }
        if self.creation_fails:
            endpoint |= {"_next": "Failed", "_reason": self.creation_fails}
        self._take(self.endpoints, given["EndpointName"], endpoint, "endpoint")
        return {"EndpointArn": "arn:aws:sagemaker:us-east-1:123456789012:endpoint/x"}

    def _describe_endpoint(self, given: Json) -> Json:
        endpoint = self._find(self.endpoints, given["EndpointName"], "endpoint")
        if "_next" in endpoint:
            endpoint["_looks"] -= 1
            if endpoint["_looks"] < 0:
                self._settle(endpoint)
        if endpoint["EndpointStatus"] == "Gone":
            del self.endpoints[given["EndpointName"]]
            raise missing(f'endpoint "{given["EndpointName"]}"')
        if "_pending" in endpoint:
            pending = {"EndpointConfigName": endpoint["_pending"], "ProductionVariants": []}
            endpoint["PendingDeploymentSummary"] = pending
        (variant,) = self.configs[endpoint["EndpointConfigName"]]["ProductionVariants"]
        count = variant.get("InitialInstanceCount", 0)
        return {key: value for key, value in endpoint.items() if key[0] != "_"} | {
            "EndpointArn": "arn:aws:sagemaker:us-east-1:123456789012:endpoint/x",
            "CreationTime": 1.0,
            "LastModifiedTime": 1.0,
            "ProductionVariants": [{"VariantName": "main", "CurrentInstanceCount": count}],
        }

    def _update_endpoint(self, given: Json) -> Json:
        endpoint = self._find(self.endpoints, given["EndpointName"], "endpoint")
        self._find(self.configs, given["EndpointConfigName"], "endpoint configuration")
        if endpoint["EndpointStatus"] != "InService":
            raise RefusalError("ValidationException", "Cannot update in-progress endpoint.")
        self.on_update()
        endpoint |= {"EndpointStatus": "Updating", "_looks": self.looks, "_next": "InService"}
        endpoint["_pending"] = given["EndpointConfigName"]
        if self.update_ends == "rolled_back":
            endpoint["_reason"] = "One or more configured alarm(s) went into ALARM"
        elif self.update_ends == "stuck":
            endpoint |= {"_next": "UpdateRollbackFailed", "_reason": "no capacity"}
            endpoint["_config"] = given["EndpointConfigName"]
        else:
            endpoint["_config"] = given["EndpointConfigName"]
        return {"EndpointArn": "arn:aws:sagemaker:us-east-1:123456789012:endpoint/x"}

    def _delete_endpoint(self, given: Json) -> Json:
        endpoint = self._find(self.endpoints, given["EndpointName"], "endpoint")
        if endpoint["EndpointStatus"] in ("Creating", "Updating"):
            raise RefusalError("ValidationException", "Cannot delete in-progress endpoint.")
        endpoint |= {"EndpointStatus": "Deleting", "_looks": self.looks, "_next": "Gone"}
        return {}

    def _register_scalable_target(self, given: Json) -> Json:
        self.scalable[given["ResourceId"]] = given
        return {}

    def _deregister_scalable_target(self, given: Json) -> Json:
        if self.scalable.pop(given["ResourceId"], None) is None:
            raise RefusalError("ObjectNotFoundException", "No scalable target found")
        return {}

    def _put_scaling_policy(self, given: Json) -> Json:
        if given["ResourceId"] not in self.scalable:
            raise RefusalError("ObjectNotFoundException", "No scalable target registered")
        self.policies[given["PolicyName"]] = given
        return {"PolicyARN": "arn:aws:autoscaling:us-east-1:123456789012:scalingPolicy:x"}

    @staticmethod
    def _settle(endpoint: Json) -> None:
        endpoint["EndpointStatus"] = endpoint.pop("_next")
        for key in ("FailureReason", "PendingDeploymentSummary", "_pending"):
            endpoint.pop(key, None)
        if "_reason" in endpoint:
            endpoint["FailureReason"] = endpoint.pop("_reason")
        if "_config" in endpoint:
            endpoint["EndpointConfigName"] = endpoint.pop("_config")

    @staticmethod
    def _take(shelf: dict[str, Json], name: str, body: Json, kind: str) -> None:
        if name in shelf:
            raise RefusalError("ValidationException", f"Cannot create already existing {kind}")
        shelf[name] = dict(body)

    @staticmethod
    def _find(shelf: dict[str, Json], name: str, kind: str) -> Json:
        if name not in shelf:
            raise missing(f'{kind} "{name}"')
        return shelf[name]
