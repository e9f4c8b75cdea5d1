"""The identity of a component's image: a hash over exactly what goes into it.

It is the image's tag and, for the local cache, the identity of the code; touching
one component leaves the others' alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from shared.component.spec import ComponentSpec
from shared.pipeline.errors import DefinitionError

# In no image: they change what is said or checked, never what a job computes.
_LEFT_OUT_FOLDERS = {"tests", "__pycache__"}
_LEFT_OUT_FILES = {"README.md"}


def code_hash(spec: ComponentSpec, root: Path) -> str:
    """Return 16 hex digits over the component's folder and its context paths."""
    digest = hashlib.sha256()
    for path in sorted(_sources(spec, root)):
        digest.update(f"{path.relative_to(root)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def image_uri(spec: ComponentSpec, root: Path, registry: str) -> str:
    return f"{registry}/visionloop/{spec.container.image}:{code_hash(spec, root)}"


def component_of(uri: str) -> str:
    """Return the component an image URI stands for: its last path segment, untagged."""
    return uri.rpartition("/")[2].partition("@")[0].partition(":")[0]


def _sources(spec: ComponentSpec, root: Path) -> Iterator[Path]:
    for listed in (*spec.container.context, f"components/{spec.name}"):
        path = root / listed
        if not path.exists():
            raise DefinitionError(
                f"{spec.name}: context path is missing: {path}; correct `context` in component.yaml"
            )
        if path.is_file():
            yield path
        else:
            yield from (file for file in path.rglob("*") if _is_source(file, path))


def _is_source(file: Path, folder: Path) -> bool:
    parts = file.relative_to(folder).parts
    return (
        file.is_file()
        and file.name not in _LEFT_OUT_FILES
        and not any(part in _LEFT_OUT_FOLDERS or part.startswith(".") for part in parts)
    )
