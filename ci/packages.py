"""Find the model package that this machine would deploy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shared.component.errors import VisionloopError
from shared.pipeline.backends.store import Store
from shared.pipeline.registry import FileRegistry, ModelPackage
from shared.pipeline.settings import Settings


class NoPackageError(VisionloopError):
    """No approved model package, or its archive is gone."""


@dataclass(frozen=True)
class LocalPackage:
    """An approved package and its model.tar.gz on this machine."""

    package: ModelPackage
    archive: Path


def approved(settings: Settings, group: str = "") -> list[ModelPackage]:
    """Return the approved packages of a group, or of all, the newest first."""
    return [package for package in reversed(_packages(settings, group)) if _is_approved(package)]


def archive_of(settings: Settings, package: ModelPackage) -> Path:
    """Return a package's model.tar.gz.

    Raises:
        NoPackageError: it is gone.
    """
    archive = Store(settings.home / "s3").path(package.model_data_url)
    if not archive.exists():
        raise NoPackageError(
            f"registry: {package.arn} is approved, but {archive} is gone; register again: make run"
        )
    return archive


def newest_approved(settings: Settings, group: str = "") -> LocalPackage:
    """Return the newest approved package of a group, or of all.

    Raises:
        NoPackageError: there is none; the message says how to get one.
    """
    found = approved(settings, group)
    if not found:
        packages = _packages(settings, group)
        waiting = [package for package in packages if package.status != "Rejected"]
        raise NoPackageError(_how_to_get_one(waiting, group))
    return LocalPackage(found[0], archive_of(settings, found[0]))


def _packages(settings: Settings, group: str) -> list[ModelPackage]:
    """Return the packages of a group, or of all, the oldest first."""
    registry = FileRegistry(settings.home / "registry.json", settings.region)
    return list(reversed(registry.list(group))) if group else list(registry.oldest_first())


def _is_approved(package: ModelPackage) -> bool:
    return package.status == "Approved"


def _how_to_get_one(waiting: list[ModelPackage], group: str) -> str:
    of_group = f" of {group}" if group else ""
    if waiting:
        approve = f"python pipeline.py --backend local --approve {waiting[-1].arn}"
        return f"registry: no approved model package{of_group}; approve the newest: {approve}"
    return (
        f"registry: no model package{of_group} on this machine; train one with `make run`, then "
        "approve it with the command that run prints"
    )
