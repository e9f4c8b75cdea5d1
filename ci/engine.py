"""The Docker engine as the commands of ci see it; the only file of ci that imports docker.

docker-py cannot do BuildKit (no `RUN --mount`), so images are built through the docker CLI
and looked at, run and pushed through docker-py, both on the same engine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound, NotFound

from ci.errors import BuildError, EngineError, PushError

_BUILDX = ("docker", "buildx")
_IN_USE = 409  # the engine's answer where a container is made of an image
_TIMEOUT_S = 600  # saving or pushing a layer of gigabytes gives no sign of life for minutes


@dataclass(frozen=True)
class Ended:
    """How a container's process ended, and all it said."""

    status: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Engine:
    """An engine that answers; `environ` is what the docker CLI is called with."""

    client: Any
    environ: Mapping[str, str]

    def image(self, reference: str) -> dict[str, Any] | None:
        """Return what the engine knows of an image; None where it has none of that name."""
        try:
            attributes: dict[str, Any] = self.client.images.get(reference).attrs
        except ImageNotFound:
            return None
        return attributes

    def pull(self, reference: str) -> None:
        """Fetch an image.

        Raises:
            BuildError: no registry gives it.
        """
        repository, _, tag = reference.partition("@")
        if not tag and ":" in reference.rpartition("/")[2]:
            repository, _, tag = reference.rpartition(":")
        try:
            self.client.images.pull(repository, tag=tag or "latest")
        except APIError as err:
            raise BuildError(
                f"build: base image {reference} is not here and cannot be pulled: "
                f"{said(err)}; log in, or name another with --base-image"
            ) from err

    def tag(self, reference: str, name: str) -> None:
        """Give an image a second name."""
        repository, _, tag = name.rpartition(":")
        self.client.images.get(reference).tag(repository, tag=tag)

    def untag(self, name: str) -> None:
        """Take a name away, and the image with its last one; one that runs is left alone."""
        try:
            self.client.images.remove(name)
        except ImageNotFound:
            return
        except APIError as err:
            if err.status_code != _IN_USE:
                raise EngineError(f"docker: cannot remove {name}: {said(err)}") from err

    def names(self, repository: str) -> list[str]:
        """Return all names of one repository, newest image first."""
        images = sorted(
            self.client.images.list(repository), key=lambda image: str(image.attrs["Created"])
        )
        return [name for image in reversed(images) for name in image.tags]

    def run(
        self, reference: str, command: Sequence[str], entrypoint: Sequence[str] | None = None
    ) -> Ended:
        """Run a process in an image to its end, without network; the container is removed.

        Raises:
            EngineError: the engine cannot start it.
        """
        container = None
        try:
            container = self.client.containers.create(
                reference, list(command), entrypoint=entrypoint, network_mode="none"
            )
            container.start()
            status = int(container.wait()["StatusCode"])
            stdout, stderr = (
                container.logs(stdout=is_out, stderr=not is_out).decode(errors="replace")
                for is_out in (True, False)
            )
            return Ended(status, stdout, stderr)
        except APIError as err:
            raise EngineError(f"docker: cannot start {reference}: {said(err)}") from err
        finally:
            if container is not None:
                container.remove(force=True)

    def save(self, reference: str) -> Iterator[bytes]:
        """Return the image as `docker save` writes it, in chunks."""
        chunks: Iterator[bytes] = self.client.images.get(reference).save(named=True)
        return chunks

    def digest_in_registry(
        self, reference: str, credentials: Mapping[str, str] | None = None
    ) -> str | None:
        """Return the digest a registry has under a name, None where it has none.

        Raises:
            PushError: the registry refuses to say.
        """
        try:
            found = self.client.images.get_registry_data(
                reference, auth_config=dict(credentials) if credentials else None
            )
        except NotFound:
            return None
        except APIError as err:
            raise PushError(f"push: cannot look for {reference}: {said(err)}") from err
        return str(found.id)

    def push(self, name: str, credentials: Mapping[str, str] | None = None) -> str:
        """Push an image under its name; return its digest in the registry.

        credentials: `username` and `password`; None uses what `docker login` keeps.
        Raises:
            PushError: the registry refuses, or is not there.
        """
        repository, _, tag = name.rpartition(":")
        digest = ""
        try:
            lines = self.client.api.push(
                repository,
                tag=tag,
                stream=True,
                decode=True,
                auth_config=dict(credentials) if credentials else None,
            )
            for line in lines:
                if "error" in line:
                    raise PushError(f"push: {name} is refused: {line['error'].strip()}")
                digest = line.get("aux", {}).get("Digest", digest)
        except (APIError, requests.RequestException) as err:
            raise PushError(f"push: {name} is refused: {said(err)}") from err
        if not digest:
            raise PushError(f"push: {name}: the registry gave no digest; push it again")
        return digest

    def buildx(self, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start `docker buildx ARGUMENTS`: context on stdin, log on stdout."""
        return subprocess.Popen(
            [*_BUILDX, *arguments],
            env=dict(self.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )


def connect(environ: Mapping[str, str] = os.environ) -> Engine:
    """Return the engine that the docker CLI talks to.

    Raises:
        EngineError: there is no CLI, no engine, or no BuildKit.
    """
    if shutil.which("docker", path=environ.get("PATH")) is None:
        raise EngineError("docker: the command is not on PATH; install Docker's CLI with buildx")
    # docker-py knows DOCKER_HOST but no contexts, which Docker Desktop and others set up.
    host = _say(environ, "docker", "context", "inspect", "-f", "{{.Endpoints.docker.Host}}")
    if not _say(environ, "docker", "version", "-f", "{{.Server.Version}}"):
        raise EngineError(_silent(host))
    try:
        client = docker.from_env(
            environment={**environ, "DOCKER_HOST": host}, timeout=_TIMEOUT_S, version="auto"
        )
    except (DockerException, requests.RequestException) as err:
        raise EngineError(_silent(host)) from err
    if not _say(environ, *_BUILDX, "version"):
        raise EngineError(
            "docker: the buildx plugin (BuildKit) is missing, and the old builder cannot do "
            "RUN --mount; install docker-buildx-plugin (Debian: docker-buildx)"
        )
    return Engine(client, environ)


def _silent(host: str) -> str:
    return f"docker: no engine answers at {host}; start Docker, or set DOCKER_HOST"


def said(err: Exception) -> str:
    """Return the engine's own words of an error."""
    return str(getattr(err, "explanation", None) or err).strip()


def _say(environ: Mapping[str, str], *command: str) -> str:
    """Return what a command prints; empty where it fails."""
    done = subprocess.run(command, env=dict(environ), capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
