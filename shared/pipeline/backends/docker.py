"""Run the instances of a job as containers of the component's own image.

The only file of the host side that imports docker. An image is the one of the URI in the
definition where it is here (pulled, or pushed from here), else the one that
`python -m ci build` tagged with the hash of this code.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

import docker
from docker.errors import APIError, DockerException, ImageNotFound
from docker.types import Mount as Bind
from docker.utils import parse_bytes

from shared.pipeline.backends.container import Host, container_options, mounts
from shared.pipeline.backends.launcher import GRACE_S, Exit, Job, Tree
from shared.pipeline.errors import JobError, SettingsError
from shared.pipeline.images import code_hash, repository_of

log = logging.getLogger(__name__)
_DEFAULT_ENGINE = "unix:///var/run/docker.sock"  # docker's own, where DOCKER_HOST is not set
_CALL_S = 120.0  # an engine that unpacks or deletes answers late
_CONNECTIONS = 32  # a running instance holds one
_KILLED = 128  # a shell's way to say: killed by signal `status - 128`
_SIGNALS = 64
_NO_ENTRYPOINT = (126, 127)  # a shell's and tini's: cannot be run, is not there
_PLATFORM_FAULT = "SageMaker.JOB_INTERNAL_ERROR"
_REMEDIES = {
    "no space left": "free some space: `docker system df` shows what takes it, "
    "`docker system prune` removes what no container uses",
    "executable file not found": "the image lacks its entrypoint; "
    "build it with `python -m ci build {component}`",
    "no command specified": "the image lacks its entrypoint; "
    "build it with `python -m ci build {component}`",
    "no such file or directory": "the image lacks its entrypoint; "
    "build it with `python -m ci build {component}`",
    "minimum memory limit": "raise VISIONLOOP_JOB_MEMORY",
    "exec format error": "the image is for another processor; "
    "build it here with `python -m ci build {component}`",
    "bind source path does not exist": "the engine does not see this machine's files; "
    "use an engine on this machine and share the folder with it",
}


@contextmanager
def engine(environ: Mapping[str, str], memory: str = "") -> Iterator[ContainerLauncher]:
    """Give a launcher on the engine that DOCKER_HOST names, or the machine's own.

    memory: most memory of a container, as `docker run --memory` takes it; "" sets no limit.

    Raises:
        SettingsError: no engine answers, or `memory` is no amount.
    """
    try:
        memory_bytes = int(parse_bytes(memory))
        if memory_bytes < 0:
            raise ValueError(memory)
    except (DockerException, ValueError) as err:
        raise SettingsError(
            f"docker: VISIONLOOP_JOB_MEMORY is {memory!r}; write it like 512m or 8g"
        ) from err
    client = _connect(environ)
    try:
        yield ContainerLauncher(client, Host(environ, _user(client), memory_bytes))
    finally:
        client.close()


def _connect(environ: Mapping[str, str]) -> Any:
    where = environ.get("DOCKER_HOST") or _DEFAULT_ENGINE
    try:
        return docker.from_env(
            environment=dict(environ), timeout=_CALL_S, max_pool_size=_CONNECTIONS
        )
    except (DockerException, OSError) as err:
        if "Permission denied" in str(err):
            raise SettingsError(
                f"docker: you may not use the engine at {where}; "
                "join its group (docker) or use --backend local"
            ) from err
        raise SettingsError(
            f"docker: no engine answers at {where}; start Docker or use --backend local"
        ) from err


def _user(client: Any) -> str:
    """Return as whom a container runs so that the caller owns what it writes."""
    if "name=rootless" in client.info().get("SecurityOptions", []):
        return "0:0"  # there root inside is the caller, and any other user is nobody here
    return f"{os.getuid()}:{os.getgid()}"


class Container:
    """A container that was started; a thread of its own copies its output and sees its end."""

    def __init__(self, container: Any, job: Job, sink: IO[bytes], memory_bytes: int) -> None:
        self._container, self._job, self._memory_bytes = container, job, memory_bytes
        self._end: Exit | None = None
        self._thread = threading.Thread(target=self._follow, args=(sink,), daemon=True)
        self._thread.start()

    def poll(self) -> Exit | None:
        return self._end

    def signal(self, name: str) -> None:
        if self._end is not None:
            return
        try:
            self._container.kill(signal=name)
        except APIError as err:
            if not err.is_client_error():  # 404, 409: it has ended meanwhile
                raise

    def join(self, timeout_s: float) -> bool:
        """Wait for its end; tell whether it came."""
        self._thread.join(max(0.0, timeout_s))
        return not self._thread.is_alive()

    def remove(self) -> None:
        _remove(self._container)

    def _follow(self, sink: IO[bytes]) -> None:
        try:
            for chunk in self._container.logs(stream=True, follow=True):
                if not self._keep(chunk, sink):
                    return
            status = int(self._container.wait(timeout=None)["StatusCode"])
            self._container.reload()
            is_out_of_memory = bool(self._container.attrs["State"].get("OOMKilled"))
        except (DockerException, OSError, ValueError) as err:
            self._end = Exit(1, f"lost its container: {err}", _PLATFORM_FAULT)
            return
        self._end = self._explain(status, is_out_of_memory)

    def _keep(self, chunk: bytes, sink: IO[bytes]) -> bool:
        try:
            sink.write(chunk)
        except OSError as err:  # a full disk here is not the engine's fault
            self._end = Exit(1, f"cannot keep its log: {err.strerror}: {self._job.log}")
            return False
        return True

    def _explain(self, status: int, is_out_of_memory: bool) -> Exit:
        if status and is_out_of_memory:
            return Exit(status, _out_of_memory(status, self._memory_bytes))
        if status in _NO_ENTRYPOINT:
            return Exit(status, _no_entrypoint(self._job, status))
        if _KILLED < status <= _KILLED + _SIGNALS:
            return Exit(_KILLED - status)
        return Exit(status)


class ContainerLauncher:
    """Starts containers on one engine; `grace_s` lies between SIGTERM and SIGKILL."""

    def __init__(self, client: Any, host: Host, grace_s: float = GRACE_S) -> None:
        self._client, self._host, self._grace_s = client, host, grace_s

    def start(self, job: Job, tree: Tree, log: IO[bytes]) -> Container:
        """Start a container of the component's image.

        Raises:
            JobError: there is no image, or the engine refuses.
        """
        image = self.find_image(job)
        options = container_options(job, tree, self._host)
        options["mounts"] = [
            Bind(str(m.target), str(m.source), type="bind", read_only=m.is_read_only)
            for m in mounts(job, tree)
        ]
        if not (options.get("entrypoint") or image.attrs["Config"].get("Entrypoint")):
            raise _refused(job, "no command specified")
        container = None
        try:
            container = self._client.containers.create(image.id, **options)
            container.start()
        except (DockerException, OSError) as err:
            if container is not None:
                _remove(container)
            raise _refused(job, getattr(err, "explanation", None) or str(err)) from err
        return Container(container, job, log, self._host.memory_bytes)

    def stop(self, running: Sequence[Container]) -> None:
        """End every container; return when none is left."""
        _signal_all(running, "SIGTERM")
        deadline = time.monotonic() + self._grace_s
        late = [each for each in running if not each.join(deadline - time.monotonic())]
        _signal_all(late, "SIGKILL")
        for each in late:
            each.join(GRACE_S)  # its output is read to the end
        for each in running:
            each.remove()

    def find_image(self, job: Job) -> Any:
        """Return the job's image.

        Raises:
            JobError: it is not here.
        """
        tag = f"{repository_of(job.spec)}:{code_hash(job.spec, job.root)}"
        for name in (job.image, tag):
            try:
                return self._client.images.get(name)
            except ImageNotFound:
                continue
            except (DockerException, OSError) as err:
                raise _refused(job, str(err)) from err
        raise JobError(
            f"{job.spec.name}: no image {tag} on this engine; "
            f"build it with `python -m ci build {job.spec.name}`, "
            "or those of all components with `python -m ci build`"
        )


def _signal_all(running: Sequence[Container], name: str) -> None:
    for each in running:
        try:
            each.signal(name)
        except (DockerException, OSError) as err:  # the others want it too
            log.warning("docker: cannot send %s: %s", name, err)


def _remove(container: Any) -> None:
    try:
        container.remove(force=True, v=True)
    except (DockerException, OSError) as err:  # what is said about the job matters more
        log.warning("docker: cannot remove a container: %s", err)


def _refused(job: Job, text: str) -> JobError:
    """Return the error of a container that could not be started."""
    found = [remedy for word, remedy in _REMEDIES.items() if word in text.lower()]
    remedy = found[0] if found else "see `docker info`"
    return JobError(
        f"{job.spec.name}: step {job.step}: docker cannot start {job.image}: {text}; "
        f"{remedy.format(component=job.spec.name)}; log: {job.log}"
    )


def _no_entrypoint(job: Job, status: int) -> str:
    return (
        f"step {job.step}: image {job.image} lacks its entrypoint, or it cannot be run "
        f"({status}); build it with `python -m ci build {job.spec.name}`; log: {job.log}"
    )


def _out_of_memory(status: int, memory_bytes: int) -> str:
    limit = f"{memory_bytes / (1 << 20):.0f} MiB" if memory_bytes else "all the engine has"
    return (
        f"out of memory ({status}): the container may use {limit}; raise VISIONLOOP_JOB_MEMORY, "
        "give the engine more memory, or lower the batch size; "
        "on SageMaker take a larger instance_type"
    )
