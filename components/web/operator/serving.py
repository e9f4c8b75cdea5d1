"""What is deployed, as AWS describes it, and the version behind it: an endpoint or a function."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

from components.web.errors import NotFound
from components.web.operator.asking import asking
from components.web.operator.package_records import Serving

_WHERE, _FUNCTION = "endpoint", "function"
# Names that components/deploy gives to configs and models.
_NAME = re.compile(r".*-v(?P<version>[1-9]\d*)-[0-9a-z]+")
_ARN = re.compile(r"arn:[^/]*:model-package/.+/(?P<version>[1-9]\d*)")


class ServingSource(Protocol):
    """Whoever knows what answers."""

    def get(self) -> Serving:
        """Return what serves now.

        Raises:
            WebError: AWS does not answer.
        """
        ...


class EndpointServing:
    """A SageMaker endpoint; `client` is boto3's for SageMaker."""

    def __init__(self, client: Any, endpoint: str) -> None:
        self._client = client
        self._endpoint = endpoint

    def get(self) -> Serving:
        try:
            with asking(_WHERE, "absent"):
                said = self._client.describe_endpoint(EndpointName=self._endpoint)
        except NotFound:
            return Serving(endpoint=self._endpoint, status="Absent")
        config = said.get("EndpointConfigName", "")
        coming = said.get("PendingDeploymentSummary", {}).get("EndpointConfigName", "")
        variants = said.get("ProductionVariants", [])
        return Serving(
            endpoint=self._endpoint,
            status=said["EndpointStatus"],
            version=version_in(config) or self._version_of(config),
            next=version_in(coming),
            config=config,
            reason=said.get("FailureReason", ""),
            changed=said.get("LastModifiedTime"),
            instances=variants[0].get("CurrentInstanceCount") if variants else None,
        )

    def _version_of(self, config: str) -> int | None:
        """Ask for the model behind a config whose name tells nothing."""
        if not config:
            return None
        try:
            with asking(_WHERE, "absent"):
                said = self._client.describe_endpoint_config(EndpointConfigName=config)
                names = [v["ModelName"] for v in said["ProductionVariants"] if "ModelName" in v]
                model = self._client.describe_model(ModelName=names[0]) if names else {}
        except NotFound:
            return None
        return _version_of_model(model)


class FunctionServing:
    """A function and its alias; `client` is boto3's for Lambda.

    A published version is described by the name of the deployment that made it.
    """

    def __init__(self, client: Any, function: str, alias: str) -> None:
        self._client = client
        self._function = function
        self._alias = alias

    def get(self) -> Serving:
        try:
            with asking(_FUNCTION, "absent"):
                said = self._client.get_alias(FunctionName=self._function, Name=self._alias)
                name = self._described(said["FunctionVersion"])
                weights = said.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
                coming = self._described(next(iter(weights))) if weights else ""
        except NotFound:
            return Serving(endpoint=self._function, status="Absent")
        return Serving(
            endpoint=self._function,
            status="Updating" if coming else "InService",
            version=version_in(name),
            next=version_in(coming),
            config=name,
        )

    def _described(self, version: str) -> str:
        said = self._client.get_function_configuration(
            FunctionName=self._function, Qualifier=version
        )
        return str(said.get("Description", ""))


def version_in(name: str) -> int | None:
    """Return the version in a name that a deployment made, None: it made none."""
    found = _NAME.fullmatch(name)
    return int(found["version"]) if found else None


def _version_of_model(model: Mapping[str, Any]) -> int | None:
    containers = [model.get("PrimaryContainer", {}), *model.get("Containers", [])]
    for container in containers:
        if found := _ARN.fullmatch(container.get("ModelPackageName", "")):
            return int(found["version"])
    return None
