"""What serves: scalable targets, endpoints, their configurations, models, functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ci.cleanup.inventory import Aws, Item, Kind, is_gone, tags_from
from shared.pipeline.errors import CostError


def kinds(aws: Aws) -> list[Kind]:
    return [
        ScalableTargets(aws),
        Named(aws, "endpoint", "Endpoint"),
        Named(aws, "endpoint configuration", "EndpointConfig"),
        Named(aws, "model", "Model"),
    ]


@dataclass(frozen=True)
class ScalableTargets:
    """What autoscaling watches: variants of endpoints with our name, aliases of our functions."""

    aws: Aws
    name: str = "scalable target"

    def items(self) -> Iterator[Item]:
        for service in ("sagemaker", "lambda"):
            for target in self.aws.pages(
                "application-autoscaling",
                "describe_scalable_targets",
                "ScalableTargets",
                ServiceNamespace=service,
            ):
                if self._is_ours(service, target):
                    place = f"{service}:{target['ResourceId']}:{target['ScalableDimension']}"
                    yield Item(place, created=target.get("CreationTime"))

    def _is_ours(self, service: str, target: dict[str, Any]) -> bool:
        """Tell by the endpoint or function: a target made by the API often has no tags."""
        watched = target["ResourceId"].replace(":", "/").split("/")[1]
        if not self.aws.scope.has_name(watched):
            return False
        if service == "lambda":
            return watched in {item.id for item in Functions(self.aws).items()}
        return watched in {item.id for item in Named(self.aws, "", "Endpoint").items()}

    def delete(self, item: Item) -> None:
        service, rest = item.id.split(":", 1)
        resource, dimension = rest.split(f":{service}:", 1)
        self.aws.client("application-autoscaling").deregister_scalable_target(
            ServiceNamespace=service,
            ResourceId=resource,
            ScalableDimension=f"{service}:{dimension}",
        )


@dataclass(frozen=True)
class Named:
    """Endpoints, configurations, models: listed, tagged and removed alike; `type` as in the API."""

    aws: Aws
    name: str
    type: str

    def items(self) -> Iterator[Item]:
        scope, plural = self.aws.scope, f"{self.type}s"
        listing = {"Endpoint": "list_endpoints", "EndpointConfig": "list_endpoint_configs"}
        operation = listing.get(self.type, "list_models")
        for found in self.aws.pages("sagemaker", operation, plural, NameContains=scope.name):
            name, arn = found[f"{self.type}Name"], found[f"{self.type}Arn"]
            if not scope.has_name(name):
                continue
            tags = tags_from(self.aws.pages("sagemaker", "list_tags", "Tags", ResourceArn=arn))
            if scope.owns(name, tags):
                size, usd = self._cost(name)
                yield Item(name, size, found["CreationTime"], usd)

    def _cost(self, name: str) -> tuple[str, float | None]:
        if self.type != "Endpoint":
            return "", 0.0
        client = self.aws.client("sagemaker")
        endpoint = client.describe_endpoint(EndpointName=name)
        described = client.describe_endpoint_config(
            EndpointConfigName=endpoint["EndpointConfigName"]
        )
        counts = {
            variant["VariantName"]: variant.get("CurrentInstanceCount")
            for variant in endpoint.get("ProductionVariants", ())
        }
        sizes, total = [], 0.0
        for variant in described["ProductionVariants"]:
            if machine := variant.get("InstanceType"):  # a serverless one costs by use
                count = counts.get(variant["VariantName"]) or variant["InitialInstanceCount"]
                sizes.append(f"{count} x {machine}")
                try:
                    hourly = self.aws.prices.instance(machine)
                except CostError:
                    return ", ".join(sizes), None
                total += count * hourly * self.aws.prices.hours_per_month
        return ", ".join(sizes) or "serverless", total

    def delete(self, item: Item) -> None:
        client = self.aws.client("sagemaker")
        request = {f"{self.type}Name": item.id}
        if self.type != "Endpoint":
            call = client.delete_model if self.type == "Model" else client.delete_endpoint_config
            call(**request)
            return
        client.delete_endpoint(**request)

        def is_deleted() -> bool:
            try:
                client.describe_endpoint(**request)
            except ClientError as err:
                if is_gone(err):
                    return True
                raise
            return False

        self.aws.wait_until(is_deleted, f"endpoint {item.id}")


@dataclass(frozen=True)
class Functions:
    """Functions outside the stacks: `P-S-predict` is made by the deployment."""

    aws: Aws
    name: str = "function"

    def items(self) -> Iterator[Item]:
        client = self.aws.client("lambda")
        for function in self.aws.pages("lambda", "list_functions", "Functions"):
            name = function["FunctionName"]
            if self.aws.scope.has_name(name):
                tags = client.list_tags(Resource=function["FunctionArn"]).get("Tags", {})
                if self.aws.scope.owns(name, tags):
                    yield Item(name, f"{function.get('MemorySize', '?')} MB memory")

    def delete(self, item: Item) -> None:
        self.aws.client("lambda").delete_function(FunctionName=item.id)
