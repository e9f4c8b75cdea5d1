"""A real-time endpoint: instances, a canary that alarms take back, scaling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from components.deploy.clients import Clients, is_missing
from components.deploy.hosting import VARIANT
from components.deploy.settings import Settings
from shared.component.operator import OperatorValues

# A canary is at most half of the new fleet, so that an update starts with two instances; if
# one is enough, scaling takes the other away.
# docs.aws.amazon.com/sagemaker/latest/APIReference/API_TrafficRoutingConfig.html
_LEAST_FLEET = 2
_CANARY_PERCENT = 25
_BAKING_S = 600  # two periods of the alarms' five minutes
_OLD_FLEET_WAITS_S = 120
_MOST_UPDATE_S = 5400
_DIMENSION = "sagemaker:variant:DesiredInstanceCount"


class InstanceStyle:
    """Instances behind an endpoint; `operator` reads what operators tune, at each use."""

    def __init__(
        self, clients: Clients, settings: Settings, operator: Callable[[], OperatorValues]
    ) -> None:
        self._clients = clients
        self._settings = settings
        self._operator = operator
        self._scaled = {
            "ServiceNamespace": "sagemaker",
            "ResourceId": f"endpoint/{settings.base}/variant/{VARIANT}",
            "ScalableDimension": _DIMENSION,
        }

    @property
    def alarms(self) -> tuple[str, ...]:
        """Made by the stack observe; the names are a convention between the two."""
        base = self._settings.base
        return (f"{base}-endpoint-5xx", f"{base}-endpoint-latency")

    def capacity(self, endpoint: Mapping[str, Any] | None, is_staging: bool) -> dict[str, Any]:
        count = 1 if is_staging else self._count(endpoint)
        return {
            "InstanceType": self._settings.instance_type,
            "InitialInstanceCount": count,
            "InitialVariantWeight": 1.0,
        }

    def before_update(self, endpoint: Mapping[str, Any]) -> dict[str, Any]:
        """Return blue/green with a canary; let go of scaling where the instance type changes.

        SageMaker refuses to change the type of a variant that is a scalable target.
        """
        config = self._clients["sagemaker"].describe_endpoint_config(
            EndpointConfigName=endpoint["EndpointConfigName"]
        )
        types = {v.get("InstanceType") for v in config["ProductionVariants"]}
        if types != {self._settings.instance_type}:
            self._let_go()
        routing = {
            "Type": "CANARY",
            "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": _CANARY_PERCENT},
            "WaitIntervalInSeconds": _BAKING_S,
        }
        return {
            "DeploymentConfig": {
                "BlueGreenUpdatePolicy": {
                    "TrafficRoutingConfiguration": routing,
                    "TerminationWaitInSeconds": _OLD_FLEET_WAITS_S,
                    "MaximumExecutionTimeoutInSeconds": _MOST_UPDATE_S,
                },
                "AutoRollbackConfiguration": {
                    "Alarms": [{"AlarmName": name} for name in self.alarms]
                },
            }
        }

    def scale(self) -> str:
        """Register the operator's bounds and the policy; both calls replace what was there."""
        asked = self._operator().integer("Minimum-Inference-Units")
        least, most = min(asked, self._settings.max_units), self._settings.max_units
        client = self._clients["application-autoscaling"]
        client.register_scalable_target(**self._scaled, MinCapacity=least, MaxCapacity=most)
        client.put_scaling_policy(
            **self._scaled,
            PolicyName=f"{self._settings.base}-invocations",
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={
                "TargetValue": float(self._settings.target_invocations),
                "PredefinedMetricSpecification": {
                    "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
                },
                "ScaleOutCooldown": 60,
                "ScaleInCooldown": 300,
            },
        )
        bound = f"; {asked} were asked for, MaxUnits of the stack deploy allows {most}"
        return f"{least} to {most} instances" + (bound if asked > most else "")

    def _count(self, endpoint: Mapping[str, Any] | None) -> int:
        units = min(self._operator().integer("Minimum-Inference-Units"), self._settings.max_units)
        if endpoint is None:
            return units
        variants = endpoint.get("ProductionVariants", [])
        now = max((int(v.get("CurrentInstanceCount", 0)) for v in variants), default=0)
        return max(units, now, _LEAST_FLEET)

    def _let_go(self) -> None:
        try:
            self._clients["application-autoscaling"].deregister_scalable_target(**self._scaled)
        except ClientError as err:
            if not is_missing(err):
                raise
