"""What a job's container is: image, mounts, environment, network, user. No engine is asked.

The container sees exactly SageMaker's /opt/ml: the tree of this instance, with inputs
mounted read-only in it. Beside it, read-only and at the paths they have here, the folder
that stands in for S3 and the local files that parameters name.

Network: none for a component without a `format: uri` parameter, since such a one has
nothing to fetch, nor where the request asks for isolation; else the engine's default,
where this machine is host.docker.internal.

User: the caller, so that he owns what is written, without any capability. A caller who is
root is root inside too, but may do no more than the owner of his files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from shared.component.layout import OPT_ML
from shared.pipeline.backends.cache import parameters
from shared.pipeline.backends.launcher import S3_ROOT_VARIABLE, Job, Mount, Tree
from shared.pipeline.errors import JobError

Json = dict[str, Any]
LABEL = "visionloop"
# Of the caller's environment a job gets what lets it fetch; paths of this machine, such as
# AWS_PROFILE's files, would mean nothing to it.
_PASSED = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"),
    *("KAGGLE_USERNAME", "KAGGLE_KEY", "HF_TOKEN", "HF_ENDPOINT", "MLFLOW_TRACKING_URI"),
    *("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    "NO_ALBUMENTATIONS_UPDATE",
)
# A mount over one of these would hide the program or its system.
_OF_THE_IMAGE = tuple(map(Path, ("/opt/program", OPT_ML, "/usr", "/etc", "/proc", "/sys", "/dev")))
# Loader processes hand batches over in /dev/shm, of which an engine gives 64 MB; it is
# memory only as far as it is used, so generous costs nothing.
_SHM_BYTES = 2 << 30


@dataclass(frozen=True)
class Host:
    """What the caller's side decides: `memory_bytes` 0 sets no limit."""

    environ: Mapping[str, str]
    user: str
    memory_bytes: int = 0


def container_options(job: Job, tree: Tree, host: Host) -> Json:
    """Return docker-py's options to create the container, but for image and mounts."""
    app = job.request.get("AlgorithmSpecification") or job.request["AppSpecification"]
    options: Json = {
        "command": job.arguments,
        "hostname": tree.host,
        "user": host.user,
        "environment": environment(job, tree, host.environ),
        "labels": labels(job, tree),
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "shm_size": _SHM_BYTES,
        # SageMaker's training puts tini before the program too: it ends at SIGTERM even
        # before it has a handler, and what it leaves behind is reaped.
        "init": True,
    }
    if "ContainerEntrypoint" in app:
        options["entrypoint"] = app["ContainerEntrypoint"]
    if host.memory_bytes:  # without swap: what exceeds the limit ends, as on SageMaker
        options |= {"mem_limit": host.memory_bytes, "memswap_limit": host.memory_bytes}
    if may_fetch(job):
        options["extra_hosts"] = {"host.docker.internal": "host-gateway"}
    else:
        options["network_mode"] = "none"
    return options


def labels(job: Job, tree: Tree) -> dict[str, str]:
    names = {"execution": job.execution, "step": job.step, "host": tree.host}
    return {f"{LABEL}.{name}": value for name, value in names.items()}


def environment(job: Job, tree: Tree, environ: Mapping[str, str]) -> dict[str, str]:
    return {
        **{name: environ[name] for name in _PASSED if name in environ},
        # The caller has no entry in the image's /etc/passwd: torch asks for his name.
        **{"HOME": "/tmp", "USER": "program", "LOGNAME": "program"},  # noqa: S108 - inside
        **job.variables,
        **job.request.get("Environment", {}),
        S3_ROOT_VARIABLE: str(tree.s3_root),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(job.threads),
    }


def may_fetch(job: Job) -> bool:
    """Tell whether the job gets a network."""
    network = job.request.get("NetworkConfig", job.request)
    has_uris = any(port.format == "uri" for port in job.spec.inputs.values())
    return has_uris and not network.get("EnableNetworkIsolation", False)


def mounts(job: Job, tree: Tree) -> list[Mount]:
    """Return what is mounted, targets as the container sees them; make the mount points here.

    An engine would make the missing ones itself, and they would be root's.

    Raises:
        JobError: a parameter names a folder that would hide the image's own.
    """
    base = tree.layout.base
    found = [Mount(base, Path(OPT_ML), is_read_only=False)]
    for mount in tree.mounts:
        if mount.source.is_dir():
            mount.target.mkdir(parents=True, exist_ok=True)
        else:
            mount.target.touch()
        inside = Path(OPT_ML) / mount.target.relative_to(base)
        found.append(Mount(mount.source, inside, mount.is_read_only))
    tree.s3_root.mkdir(parents=True, exist_ok=True)
    for path in dict.fromkeys([tree.s3_root, *_local_paths(job)]):
        if any(place.is_relative_to(path) for place in _OF_THE_IMAGE):
            raise JobError(
                f"{job.spec.name}: {path} cannot be shown to a container: it would hide the "
                "image's own folder; move the data elsewhere or use --backend local"
            )
        found.append(Mount(path, path))
    return found


def _local_paths(job: Job) -> Iterator[Path]:
    """Yield the files and folders of this machine that parameters name."""
    for name, text in parameters(job.spec, job.request).items():
        port = job.spec.inputs.get(name)
        if port is None or port.format != "uri":
            continue
        path = unquote(urlsplit(text).path) if text.startswith("file://") else text
        if PurePosixPath(path).is_absolute() and Path(path).exists():
            yield Path(path)
