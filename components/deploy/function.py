"""A Lambda function of our serverless image: a published version pins image and model.

The version's description is the job's name, so that AWS itself tells what serves: the alias
`live` names a version, and the version names the model package.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from components.deploy.clients import Clients, is_missing
from components.deploy.errors import PromotionError, RollBackError, SmokeTestError, StagingError
from components.deploy.golden import NOT_RECORDED, Ask, instances_of, prediction_in
from components.deploy.job import Job, version_in
from components.deploy.plan import Serving
from components.deploy.settings import Settings

_ALIAS = "live"
_CANARY_WEIGHT = 0.1
_TIMEOUT_S = 60
_STORAGE = {"Size": 2048}  # MB, for model.tar.gz and what is in it
Json = Mapping[str, Any]


class FunctionTarget:
    """The function and its alias; `clock` returns epoch seconds."""

    def __init__(self, clients: Clients, settings: Settings, clock: Callable[[], float]) -> None:
        self._client = clients["lambda"]
        self._clients = clients
        self._settings = settings
        self._clock = clock
        self._name = f"{settings.base}-predict"

    @property
    def alarms(self) -> tuple[str, ...]:
        return (f"{self._name}-errors",)

    def serving(self) -> Serving:
        alias = self._alias()
        if alias is None:
            return Serving()
        version = str(alias["FunctionVersion"])
        found = self._configuration(version)
        described = str((found or {}).get("Description", ""))
        problem = ""
        if not version_in(described):
            problem = (
                f"alias {_ALIAS} of {self._name} names version {version} ('{described}'), which is "
                "none of ours; delete the alias, then approve the package again"
            )
        return Serving(version_in(described), version, problem=problem)

    def stage(self, job: Job) -> bool:
        """Publish a version of this image and this model, one change a call.

        Raises:
            StagingError: Lambda cannot start it, or runs another image.
        """
        if published := self._published(job):
            return self._is_sound(published)
        latest = self._configuration("$LATEST")
        if latest is None:
            self._create(job)
            return False
        if not self._is_settled(latest):
            return False
        if self._image("$LATEST") != self._settings.predict_image:
            self._client.update_function_code(
                FunctionName=self._name,
                ImageUri=self._settings.predict_image,
                Architectures=[self._settings.predict_architecture],
            )
            return False
        if _variables(latest) != self._environment(job):
            self._client.update_function_configuration(
                FunctionName=self._name,
                Environment={"Variables": self._environment(job)},
                MemorySize=self._settings.memory_mb,
                Timeout=_TIMEOUT_S,
                EphemeralStorage=_STORAGE,
                Role=self._settings.predict_role,
            )
            return False
        self._client.publish_version(
            FunctionName=self._name,
            Description=job.name(self._settings.base),
            RevisionId=latest["RevisionId"],  # what was looked at is what is published
        )
        return False

    def ask_staged(self, job: Job) -> Ask:
        return self._asker(self._version_of(job))

    def ask_live(self, job: Job) -> Ask:  # noqa: ARG002 - the alias knows
        return self._asker(_ALIAS)

    def promote(self, job: Job) -> bool:
        """Send a tenth to the version; all where nothing served before."""
        version, alias = self._version_of(job), self._alias()
        if alias is None:
            self._client.create_alias(
                FunctionName=self._name, Name=_ALIAS, FunctionVersion=version, Description="all"
            )
        elif version not in (alias["FunctionVersion"], *_weights(alias)):
            self._point(alias["FunctionVersion"], {version: _CANARY_WEIGHT}, str(self._clock()))
        return True

    def is_promoted(self, job: Job) -> bool:
        """Watch the alarm while the canary lasts, then send all."""
        alias, version = self._alias(), self._version_of(job)
        if alias is None:
            raise PromotionError(f"promotion: alias {_ALIAS} of {self._name} is gone; who did it?")
        if alias["FunctionVersion"] == version:
            return True
        if version not in _weights(alias):
            raise PromotionError(
                f"promotion: alias {_ALIAS} of {self._name} was pointed elsewhere; who did it?"
            )
        self._heed_alarms()
        if self._clock() - float(alias["Description"]) < self._settings.canary_s:
            return False
        self._point(version, {}, "all")
        return True

    def finish(self, job: Job) -> bool:
        kept = {self._version_of(job), job.previous, "$LATEST"}
        for version in self._versions():
            if version["Version"] not in kept:
                self._client.delete_function(FunctionName=self._name, Qualifier=version["Version"])
        return True

    def roll_back(self, job: Job) -> bool:
        alias = self._alias()
        if alias is not None and job.previous:
            self._point(job.previous, {}, "all")
        elif alias is not None:  # before us nothing served, and what is wrong must not
            self._client.delete_alias(FunctionName=self._name, Name=_ALIAS)
        after = self._alias()
        is_back = str((after or {}).get("FunctionVersion", "")) == job.previous
        if not is_back or _weights(after or {}):
            raise RollBackError(
                f"roll back: alias {_ALIAS} of {self._name} names "
                f"{after and after['FunctionVersion']} instead of {job.previous or 'nothing'}; "
                "set it by hand: aws lambda update-alias"
            )
        if published := self._published(job):
            self._client.delete_function(FunctionName=self._name, Qualifier=published["Version"])
        return True

    def scale(self) -> str:
        return "Lambda scales by itself"

    def _create(self, job: Job) -> None:
        self._client.create_function(
            FunctionName=self._name,
            PackageType="Image",
            Code={"ImageUri": self._settings.predict_image},
            Architectures=[self._settings.predict_architecture],
            Role=self._settings.predict_role,
            MemorySize=self._settings.memory_mb,
            Timeout=_TIMEOUT_S,
            EphemeralStorage=_STORAGE,
            Environment={"Variables": self._environment(job)},
            Tags=self._settings.tags,
        )

    def _environment(self, job: Job) -> dict[str, str]:
        """Return the variables of components/serverless, whose component.yaml explains them."""
        return {
            "VISIONLOOP_MODEL_URI": job.model_data,
            "VISIONLOOP_MODEL_VERSION": str(job.version),
            # Lambda publishes nothing where nothing has changed since the last version.
            "VISIONLOOP_DEPLOYMENT": job.suffix,
        }

    def _is_settled(self, configuration: Json) -> bool:
        states = {configuration.get("State"), configuration.get("LastUpdateStatus")}
        if "Failed" in states:
            reasons = (configuration.get(k) for k in ("StateReason", "LastUpdateStatusReason"))
            raise StagingError(
                f"staging: function {self._name}: {' '.join(filter(None, reasons))}; check the "
                "image's repository policy and the role"
            )
        return not states & {"Pending", "InProgress"}

    def _is_sound(self, published: Json) -> bool:
        version = published["Version"]
        found = self._configuration(version)
        if found is None or not self._is_settled(found):
            return False
        if (image := self._image(version)) != self._settings.predict_image:
            raise StagingError(
                f"staging: version {version} of {self._name} runs {image} instead of "
                f"{self._settings.predict_image}; somebody else updates this function"
            )
        return True

    def _heed_alarms(self) -> None:
        found = self._clients["cloudwatch"].describe_alarms(AlarmNames=list(self.alarms))
        ringing = [a["AlarmName"] for a in found["MetricAlarms"] if a["StateValue"] == "ALARM"]
        if ringing:
            raise PromotionError(
                f"promotion: alarm {', '.join(ringing)} rings while a tenth of the traffic goes to "
                f"the new version; read the log group /aws/lambda/{self._name}"
            )

    def _point(self, version: str, weights: dict[str, float], description: str) -> None:
        self._client.update_alias(
            FunctionName=self._name,
            Name=_ALIAS,
            FunctionVersion=version,
            RoutingConfig={"AdditionalVersionWeights": weights},
            Description=description,
        )

    def _asker(self, qualifier: str) -> Ask:
        return lambda image: self._ask(qualifier, image)

    def _ask(self, qualifier: str, image: bytes) -> dict[str, Any]:
        event = instances_of(image) | {"custom_attributes": NOT_RECORDED}
        response = self._client.invoke(
            FunctionName=self._name, Qualifier=qualifier, Payload=json.dumps(event)
        )
        body = response["Payload"].read()
        who = f"function {self._name}:{qualifier}"
        if "FunctionError" in response:
            raise SmokeTestError(f"smoke test: {who} fails: {body[:300]!r}; read its log")
        return prediction_in(body, who)

    def _alias(self) -> Json | None:
        return self._read(self._client.get_alias, Name=_ALIAS)

    def _configuration(self, qualifier: str) -> Json | None:
        return self._read(self._client.get_function_configuration, Qualifier=qualifier)

    def _image(self, qualifier: str) -> str:
        code = self._client.get_function(FunctionName=self._name, Qualifier=qualifier)["Code"]
        return str(code.get("ResolvedImageUri", ""))

    def _published(self, job: Job) -> Json | None:
        name = job.name(self._settings.base)
        return next((v for v in self._versions() if v.get("Description") == name), None)

    def _version_of(self, job: Job) -> str:
        published = self._published(job)
        if published is None:
            raise StagingError(
                f"staging: {self._name} has no version {job.name('')}; who deleted it?"
            )
        return str(published["Version"])

    def _versions(self) -> list[Json]:
        pages = self._client.get_paginator("list_versions_by_function").paginate(
            FunctionName=self._name
        )
        try:
            return [version for page in pages for version in page["Versions"]]
        except ClientError as err:
            if is_missing(err):
                return []
            raise

    def _read(self, read: Callable[..., Any], **what: str) -> Json | None:
        try:
            found: Json = read(FunctionName=self._name, **what)
        except ClientError as err:
            if is_missing(err):
                return None
            raise
        return found


def _variables(configuration: Json) -> dict[str, str]:
    return dict(configuration.get("Environment", {}).get("Variables", {}))


def _weights(alias: Json) -> dict[str, float]:
    return dict((alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {})
