"""What both kinds of SageMaker endpoint have in common: models, configs, a staging endpoint."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from botocore.exceptions import ClientError

from components.deploy.clients import Clients, is_missing
from components.deploy.errors import PromotionError, RollBackError, SmokeTestError, StagingError
from components.deploy.golden import NOT_RECORDED, Ask, instances_of, prediction_in
from components.deploy.job import Job, version_in
from components.deploy.plan import Serving
from components.deploy.settings import Settings

VARIANT = "main"  # always: alarms, scaling and metrics name it
# docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html
_BUSY = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
Tags = list[dict[str, str]]


class Style(Protocol):
    """How endpoints of one kind differ from those of the other."""

    @property
    def alarms(self) -> tuple[str, ...]: ...

    def capacity(self, endpoint: Mapping[str, Any] | None, is_staging: bool) -> dict[str, Any]:
        """Return a variant's size.

        endpoint: what serves now, as DescribeEndpoint has it; None: nothing.
        """
        ...

    def before_update(self, endpoint: Mapping[str, Any]) -> dict[str, Any]:
        """Return what UpdateEndpoint is told beside the names."""
        ...

    def scale(self) -> str:
        """Set the bounds of scaling and say what they are."""
        ...


class HostedTarget:
    """A SageMaker endpoint, real-time or serverless."""

    def __init__(self, clients: Clients, settings: Settings, style: Style) -> None:
        self._clients = clients
        self._client = clients["sagemaker"]
        self._settings = settings
        self._style = style
        self._live = settings.base
        self._staging = f"{settings.base}-staging"

    @property
    def alarms(self) -> tuple[str, ...]:
        return self._style.alarms

    def serving(self) -> Serving:
        """Read it from the endpoint, whose config's name tells the version."""
        endpoint = self._describe(self._live)
        if endpoint is None:
            return Serving()
        config, status = str(endpoint["EndpointConfigName"]), str(endpoint["EndpointStatus"])
        version = version_in(config)
        problem = ""
        if not version:
            problem = (
                f"endpoint {self._live} has the config {config}, which is none of ours; delete the "
                "endpoint, or choose another project or stage"
            )
        elif status not in ("InService", *_BUSY):
            reason = endpoint.get("FailureReason", "no reason given")
            problem = (
                f"endpoint {self._live} is {status} ({reason}); repair or delete it, then approve "
                "the package again"
            )
        return Serving(version, config, status in _BUSY, problem)

    def stage(self, job: Job) -> bool:
        """Serve the version from an endpoint of its own.

        Raises:
            StagingError: SageMaker cannot start it.
        """
        name = job.name(self._staging)
        self._ensure_model(job)
        self._ensure_config(job, name, None, is_staging=True)
        endpoint = self._describe(self._staging)
        if endpoint is None:
            self._client.create_endpoint(
                EndpointName=self._staging, EndpointConfigName=name, Tags=self._tags(job)
            )
            return False
        status = endpoint["EndpointStatus"]
        if status in _BUSY:
            return False
        if endpoint["EndpointConfigName"] != name:  # of a deployment that did not end well
            self._client.delete_endpoint(EndpointName=self._staging)
            return False
        if status != "InService":
            raise StagingError(
                f"staging: endpoint {self._staging} is {status}: "
                f"{endpoint.get('FailureReason', 'no reason given')}; read its log group "
                f"/aws/sagemaker/Endpoints/{self._staging}"
            )
        return True

    def ask_staged(self, job: Job) -> Ask:  # noqa: ARG002 - one endpoint, one version
        return self._asker(self._staging)

    def ask_live(self, job: Job) -> Ask:  # noqa: ARG002
        return self._asker(self._live)

    def promote(self, job: Job) -> bool:
        """Create the endpoint, or update it with what its style asks for."""
        endpoint = self._describe(self._live)
        name = job.name(self._settings.base)
        self._ensure_config(job, name, endpoint, is_staging=False)
        if endpoint is None:
            self._client.create_endpoint(
                EndpointName=self._live, EndpointConfigName=name, Tags=self._tags(job)
            )
            return True
        pending = endpoint.get("PendingDeploymentSummary", {}).get("EndpointConfigName")
        if name in (endpoint["EndpointConfigName"], pending):
            return True  # this is a second attempt
        if endpoint["EndpointStatus"] in _BUSY:  # scaling, for example
            return False
        options = self._style.before_update(endpoint)
        self._client.update_endpoint(
            EndpointName=self._live,
            EndpointConfigName=name,
            RetainAllVariantProperties=False,
            **options,
        )
        return True

    def is_promoted(self, job: Job) -> bool:
        endpoint = self._describe(self._live)
        if endpoint is None:
            raise PromotionError(f"promotion: endpoint {self._live} is gone; who deleted it?")
        status, config = endpoint["EndpointStatus"], endpoint["EndpointConfigName"]
        if status in _BUSY:
            return False
        if status == "InService" and config == job.name(self._settings.base):
            return True
        raise PromotionError(
            f"promotion: endpoint {self._live} is {status} with {config}: "
            f"{endpoint.get('FailureReason', 'SageMaker took the new version back')}; see the "
            f"alarms {', '.join(self.alarms) or '(none)'} and the endpoint's log"
        )

    def finish(self, job: Job) -> bool:
        self._style.scale()
        if not self._remove_staging(job):
            return False
        kept = {job.name(self._settings.base), job.previous}
        for name in [n for n in self._configs() if n not in kept]:
            self._client.delete_endpoint_config(EndpointConfigName=name)
        for name in [n for n in self._models() if n not in kept]:
            self._client.delete_model(ModelName=name)
        return True

    def roll_back(self, job: Job) -> bool:
        is_back = self._bring_back(job)
        is_clean = self._remove_staging(job)
        if not (is_back and is_clean):
            return False
        if job.previous:
            self._style.scale()
        name = job.name(self._settings.base)
        self._forget(self._client.delete_endpoint_config, EndpointConfigName=name)
        self._forget(self._client.delete_model, ModelName=name)
        return True

    def scale(self) -> str:
        endpoint = self._describe(self._live)
        return self._style.scale() if endpoint else "nothing serves, so nothing is scaled"

    def _bring_back(self, job: Job) -> bool:
        endpoint = self._describe(self._live)
        if endpoint is None:
            return True
        status, config = endpoint["EndpointStatus"], endpoint["EndpointConfigName"]
        if status in _BUSY:
            return False
        if status == "InService" and config == job.previous:
            return True
        if config == job.name(self._settings.base):
            if not job.previous:  # before us nothing served, and what is wrong must not
                self._client.delete_endpoint(EndpointName=self._live)
                return False
            if status == "InService":
                # At once and without alarms: they may ring because of what is taken back.
                self._client.update_endpoint(
                    EndpointName=self._live, EndpointConfigName=job.previous
                )
                return False
        raise RollBackError(
            f"roll back: endpoint {self._live} is {status} with {config}; before, "
            f"{job.previous or 'nothing'} served; bring that back by hand: "
            "aws sagemaker update-endpoint"
        )

    def _remove_staging(self, job: Job) -> bool:
        endpoint = self._describe(self._staging)
        if endpoint is None:
            name = job.name(self._staging)
            self._forget(self._client.delete_endpoint_config, EndpointConfigName=name)
            return True
        if endpoint["EndpointStatus"] not in _BUSY:
            self._client.delete_endpoint(EndpointName=self._staging)
        return False

    def _ensure_model(self, job: Job) -> None:
        name = job.name(self._settings.base)
        if self._exists(self._client.describe_model, ModelName=name):
            return
        self._client.create_model(
            ModelName=name,
            PrimaryContainer={
                "ModelPackageName": job.package,
                "Environment": self._environment(job),
            },
            ExecutionRoleArn=self._settings.endpoint_role,
            Tags=self._tags(job),
        )

    def _ensure_config(
        self, job: Job, name: str, endpoint: Mapping[str, Any] | None, *, is_staging: bool
    ) -> None:
        if self._exists(self._client.describe_endpoint_config, EndpointConfigName=name):
            return
        variant = {
            "VariantName": VARIANT,
            "ModelName": job.name(self._settings.base),
            **self._style.capacity(endpoint, is_staging),
        }
        self._client.create_endpoint_config(
            EndpointConfigName=name, ProductionVariants=[variant], Tags=self._tags(job)
        )

    def _environment(self, job: Job) -> dict[str, str]:
        """Return the variables of components/inference, whose component.yaml explains them."""
        return {
            "VISIONLOOP_ENDPOINT_NAME": self._live,
            "VISIONLOOP_VARIANT_NAME": VARIANT,
            "VISIONLOOP_MODEL_VERSION": str(job.version),
            "VISIONLOOP_SINK": self._settings.sink,
            "VISIONLOOP_OPERATOR_PATH": self._settings.operator_path,
        }

    def _asker(self, endpoint: str) -> Ask:
        return lambda image: ask_endpoint(self._clients["sagemaker-runtime"], endpoint, image)

    def _describe(self, name: str) -> Mapping[str, Any] | None:
        return self._exists(self._client.describe_endpoint, EndpointName=name)

    def _configs(self) -> Iterator[str]:
        pages = self._client.get_paginator("list_endpoint_configs").paginate(
            NameContains=f"{self._settings.base}-"
        )
        found = [c["EndpointConfigName"] for page in pages for c in page["EndpointConfigs"]]
        return (name for name in found if self._is_ours(name))

    def _models(self) -> Iterator[str]:
        pages = self._client.get_paginator("list_models").paginate(
            NameContains=f"{self._settings.base}-"
        )
        found = [m["ModelName"] for page in pages for m in page["Models"]]
        return (name for name in found if self._is_ours(name))

    def _is_ours(self, name: str) -> bool:
        """Tell our names from those of a stage whose name begins as this one's."""
        version, suffix = version_in(name), name[-8:]
        ours = {f"{start}-v{version}-{suffix}" for start in (self._live, self._staging)}
        return bool(version) and name in ours

    def _tags(self, job: Job) -> Tags:
        tags = self._settings.tags | {"package-version": str(job.version)}
        return [{"Key": key, "Value": value} for key, value in tags.items()]

    @staticmethod
    def _exists(describe: Callable[..., Any], **name: str) -> Mapping[str, Any] | None:
        try:
            found: Mapping[str, Any] = describe(**name)
        except ClientError as err:
            if is_missing(err):
                return None
            raise
        return found

    @staticmethod
    def _forget(delete: Callable[..., Any], **name: str) -> None:
        """Delete what may be gone already."""
        try:
            delete(**name)
        except ClientError as err:
            if not is_missing(err):
                raise


def ask_endpoint(client: Any, endpoint: str, image: bytes) -> dict[str, Any]:
    """Send one image and return the prediction; `client` is boto3's for sagemaker-runtime.

    Raises:
        SmokeTestError: the model answers with an error of its own.
    """
    try:
        response = client.invoke_endpoint(
            EndpointName=endpoint,
            Body=json.dumps(instances_of(image)),
            ContentType="application/json",
            Accept="application/json",
            CustomAttributes=NOT_RECORDED,
        )
    except ClientError as err:
        said: Mapping[str, Any] = err.response
        if "OriginalStatusCode" not in said:
            raise
        raise SmokeTestError(
            f"smoke test: endpoint {endpoint} answers {said['OriginalStatusCode']}: "
            f"{str(said.get('OriginalMessage'))[:300]}; read its log"
        ) from err
    return prediction_in(response["Body"].read(), f"endpoint {endpoint}")
