"""Registries that images go to: Amazon ECR, or any that speaks Docker's protocol."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ci.engine import Engine
from shared.pipeline.settings import Settings

_ECR = re.compile(r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com")


class Registry(Protocol):
    """Where images go.

    prefix: host, and a path where the registry is shared; an image's repository follows it.
    """

    @property
    def prefix(self) -> str: ...

    def prepare(self, repository: str) -> None:
        """Make the repository where it is missing."""

    def digest(self, repository: str, tag: str) -> str | None:
        """Return the digest under a tag, None where it has none."""

    def credentials(self) -> Mapping[str, str] | None:
        """Return username and password; None for what `docker login` keeps."""


@dataclass(frozen=True)
class PlainRegistry:
    """A registry that makes repositories by itself and is logged in to by `docker login`."""

    prefix: str
    engine: Engine

    def prepare(self, repository: str) -> None:
        """Do nothing: the first push makes it."""

    def digest(self, repository: str, tag: str) -> str | None:
        return self.engine.digest_in_registry(f"{self.prefix}/{repository}:{tag}")

    def credentials(self) -> None:
        return None


@dataclass(frozen=True)
class EcrRegistry:
    """Amazon ECR; `client` is boto3's for ecr."""

    prefix: str
    client: Any

    def prepare(self, repository: str) -> None:
        """Make the repository with immutable tags and a scan of every push.

        Below PROJECT-STAGE it is tagged as that stage's, or clean-up would leave it.
        """
        try:
            self.client.create_repository(
                registryId=self._account,
                repositoryName=self._path(repository),
                imageTagMutability="IMMUTABLE",
                imageScanningConfiguration={"scanOnPush": True},
                tags=self._tags,
            )
        except self.client.exceptions.RepositoryAlreadyExistsException:
            return

    def digest(self, repository: str, tag: str) -> str | None:
        try:
            found = self.client.describe_images(
                registryId=self._account,
                repositoryName=self._path(repository),
                imageIds=[{"imageTag": tag}],
            )
        except (
            self.client.exceptions.ImageNotFoundException,
            self.client.exceptions.RepositoryNotFoundException,
        ):
            return None
        return str(found["imageDetails"][0]["imageDigest"])

    def credentials(self) -> dict[str, str]:
        """Ask for a password of twelve hours; it goes to the engine alone, never to a file."""
        answer = self.client.get_authorization_token()
        token = answer["authorizationData"][0]["authorizationToken"]
        username, _, password = base64.b64decode(token).decode().partition(":")
        return {"username": username, "password": password}

    @property
    def _tags(self) -> list[dict[str, str]]:
        top = self.prefix.partition("/")[2].partition("/")[0]
        project, _, stage = top.rpartition("-")
        tags = {"project": project, "stage": stage, "stack": "registry"} if project else {}
        return [{"Key": k, "Value": v} for k, v in ({"managed-by": "visionloop"} | tags).items()]

    @property
    def _account(self) -> str:
        return self.prefix.partition(".")[0]

    def _path(self, repository: str) -> str:
        below = self.prefix.partition("/")[2]
        return f"{below}/{repository}" if below else repository


def open_registry(given: str, settings: Settings, engine: Engine) -> Registry:
    """Return the registry of a flag, of VISIONLOOP_IMAGE_REGISTRY, or of the account.

    given: host with an optional path; empty for what the settings say.
    """
    prefix = (given or settings.explicit_registry).rstrip("/")
    ecr = _ECR.match(prefix)
    if prefix and not ecr:
        return PlainRegistry(prefix, engine)
    import boto3

    region = ecr["region"] if ecr else settings.region
    session = boto3.Session(region_name=region)
    if not ecr:
        account = session.client("sts").get_caller_identity()["Account"]
        prefix = replace(settings, account=account).registry
    return EcrRegistry(prefix, session.client("ecr"))  # type: ignore[call-overload, unused-ignore]
