"""The identity of a component's image: a hash over exactly what goes into it.

One rule says what goes in, on disk (`context_files`) and in a commit (`is_in_context`): the
build's context is made of it, the local cache knows code by its hash, and a push is
remembered under it. Touching one component leaves the others' images alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from shared.component.files import write_json
from shared.component.spec import ComponentSpec, load_spec
from shared.pipeline.errors import DefinitionError, SettingsError
from shared.pipeline.settings import Settings

# In no image: they change what is said or checked, never what a job computes.
_LEFT_OUT_FOLDERS = {"tests", "__pycache__"}
_LEFT_OUT_FILES = {"README.md"}
_PUSHED = "images.json"


@dataclass(frozen=True)
class ContextFile:
    """One file of a build context; `path` is its place in the repository and in the image."""

    path: str
    data: bytes
    is_executable: bool = False


@dataclass(frozen=True)
class Pushed:
    """An image in a registry: the hash of its code, and `repository@sha256:...`."""

    code: str
    uri: str


def context_paths(spec: ComponentSpec) -> tuple[str, ...]:
    """Return what an image is made of: files and folders of the repository."""
    return (*spec.container.context, f"components/{spec.name}")


def context_files(spec: ComponentSpec, root: Path) -> list[ContextFile]:
    """Read all that goes into the component's image, in the order of the paths.

    Raises:
        DefinitionError: component.yaml lists what is not there.
    """
    found = {path.relative_to(root).as_posix(): path for path in _sources(spec, root)}
    return [
        ContextFile(name, path.read_bytes(), bool(path.stat().st_mode & 0o100))
        for name, path in sorted(found.items())
    ]


def is_in_context(path: str, spec: ComponentSpec) -> bool:
    """Tell whether a file of the repository goes into the component's image."""
    for listed in context_paths(spec):
        if path == listed:
            return True
        if PurePosixPath(path).is_relative_to(listed):
            return _is_source(PurePosixPath(path).relative_to(listed).parts)
    return False


def code_hash(spec: ComponentSpec, root: Path) -> str:
    """Return 16 hex digits over the component's folder and its context paths."""
    return hash_of(context_files(spec, root))


def hash_of(files: list[ContextFile]) -> str:
    """Return the identity of a build context; times and owners are no part of it."""
    digest = hashlib.sha256()
    for file in files:
        mode = "x" if file.is_executable else ""
        digest.update(f"{file.path}\0{mode}\0{len(file.data)}\0".encode())
        digest.update(file.data)
    return digest.hexdigest()[:16]


def repository_of(spec: ComponentSpec) -> str:
    """Return the image's name without registry and tag."""
    return f"visionloop/{spec.container.image}"


def image_uri(spec: ComponentSpec, settings: Settings) -> str:
    """Return the image of today's code: its digest where it was pushed, else its tag."""
    code = code_hash(spec, settings.root)
    repository = f"{settings.registry}/{repository_of(spec)}"
    pushed = read_pushed(settings.home).get(spec.name)
    # A digest of another registry or account would send jobs to an image they may not read.
    if pushed and pushed.code == code and pushed.uri.startswith(f"{repository}@"):
        return pushed.uri
    return f"{repository}:{code}"


def inference_image(settings: Settings) -> str:
    """Return the image that a model package names: the inference component's, unless told."""
    if settings.explicit_inference_image:
        return settings.explicit_inference_image
    folder = settings.root / "components" / "inference"
    if not folder.is_dir():  # a house without it serves by an image it was given
        return f"{settings.registry}/visionloop/inference:latest"
    return image_uri(load_spec(folder), settings)


def component_of(uri: str) -> str:
    """Return the component an image URI stands for: its last path segment, untagged."""
    return uri.rpartition("/")[2].partition("@")[0].partition(":")[0]


def read_pushed(home: Path) -> dict[str, Pushed]:
    """Return what `python -m ci push` last pushed from this machine, by component.

    Raises:
        SettingsError: the record is damaged.
    """
    path = home / _PUSHED
    try:
        document = json.loads(path.read_text())
        return {name: Pushed(**entry) for name, entry in document.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as err:
        raise SettingsError(
            f"images: {path} is damaged ({err}); remove it and run python -m ci push"
        ) from err


def write_pushed(home: Path, pushed: Mapping[str, Pushed]) -> None:
    """Add to the record of what was pushed; other components keep their entry."""
    entries = read_pushed(home) | dict(pushed)
    write_json(home / _PUSHED, {name: asdict(entry) for name, entry in entries.items()})


def _sources(spec: ComponentSpec, root: Path) -> Iterator[Path]:
    for listed in context_paths(spec):
        path = root / listed
        if not path.exists():
            raise DefinitionError(
                f"{spec.name}: context path is missing: {path}; correct `context` in component.yaml"
            )
        if path.is_file():
            yield path
        else:
            files = (file for file in path.rglob("*") if file.is_file())
            yield from (file for file in files if _is_source(file.relative_to(path).parts))


def _is_source(parts: tuple[str, ...]) -> bool:
    """Tell whether a file goes in, by its path below a listed folder."""
    return parts[-1] not in _LEFT_OUT_FILES and not any(
        part in _LEFT_OUT_FOLDERS or part.startswith(".") for part in parts
    )
