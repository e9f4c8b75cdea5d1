"""What an image is made of, and the names that follow from it, before anything is built.

An image has two names here: visionloop/train:<hash of its context>, which the docker backend
and a pipeline definition use, and visionloop/train:<hash of context, base image and build
arguments>, its identity: what exists under that name is not built again.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
import subprocess
import tarfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from ci.dockerfiles import read_instructions
from ci.engine import Engine
from ci.errors import BuildError
from ci.problems import component_folders
from shared.component.errors import UsageError
from shared.component.spec import ComponentSpec, load_spec
from shared.pipeline.images import ContextFile, context_files, hash_of, repository_of
from shared.pipeline.nearest import nearest

CODE_LABEL = "visionloop.code"
# 1980-01-01: the oldest time a zip holds, so that nothing in an image trips over it.
_TIME_S = 315_532_800


@dataclass(frozen=True)
class Recipe:
    """How one image is made.

    code: hash of the context, as shared.pipeline.images counts it.
    base_id: the base image's digest, whatever its name is.
    arguments: build arguments besides the base.
    """

    spec: ComponentSpec
    files: list[ContextFile]
    code: str
    base: str
    base_id: str
    arguments: Mapping[str, str] = field(default_factory=dict)

    @property
    def tag(self) -> str:
        identity = [self.code, self.base_id, sorted(self.arguments.items())]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """The image's identity: what exists under it is not built again."""
        return f"{repository_of(self.spec)}:{self.tag}"

    @property
    def code_name(self) -> str:
        """What runs this code: the newest build of it."""
        return f"{repository_of(self.spec)}:{self.code}"


@dataclass(frozen=True)
class Options:
    """What the command line says about all builds.

    bases: base image by component; the key "" holds for all others.
    """

    bases: Mapping[str, str] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)
    is_fresh: bool = False


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say what is built, and from what."""
    add = parser.add_argument
    add("components", nargs="*", metavar="COMPONENT", help="default: all")
    add(
        "--base-image",
        action="append",
        default=[],
        metavar="[COMPONENT=]IMAGE",
        help="in place of the Dockerfile's BASE_IMAGE; of one component, or of all",
    )
    add("--pull", action="store_true", help="look for newer base images first")
    add("--build-arg", action="append", default=[], metavar="NAME=VALUE", help="any other ARG")
    add("--index", metavar="URL", help="package index: PIP_INDEX_URL")
    add("--extra-index", metavar="URL", help="a second one: PIP_EXTRA_INDEX_URL")
    add("--find-links", metavar="URL", help="page or folder of the base image: PIP_FIND_LINKS")


def read_options(arguments: argparse.Namespace) -> Options:
    """Return what `add_options` added, checked.

    Raises:
        UsageError: an argument has no value, or holds a password.
    """
    values = dict(_pair(text, "--build-arg") for text in arguments.build_arg)
    flags = {
        "PIP_INDEX_URL": arguments.index,
        "PIP_EXTRA_INDEX_URL": arguments.extra_index,
        "PIP_FIND_LINKS": arguments.find_links,
    }
    values |= {name: value for name, value in flags.items() if value}
    for name, value in values.items():
        if "@" in urlsplit(value).netloc:  # `docker history` shows arguments to everybody
            raise UsageError(
                f"build: {name} holds a password, which would stay in the image; give an index "
                "that needs none, such as a proxy on this machine"
            )
    bases = {}
    for text in arguments.base_image:
        component, _, image = text.rpartition("=")
        bases[component] = image
    return Options(bases, values, arguments.pull)


def chosen(names: Sequence[str], root: Path) -> list[ComponentSpec]:
    """Return the components of these names, all without any.

    Raises:
        UsageError: there is no such component; the message names the nearest.
    """
    known = [folder.name for folder in component_folders(root)]
    for name in names:
        if name not in known:
            raise UsageError(f"build: no component '{name}'{nearest(name, known)}")
    return [load_spec(root / "components" / name) for name in known if not names or name in names]


def recipe_of(spec: ComponentSpec, root: Path, engine: Engine, options: Options) -> Recipe:
    """Return how the component's image is made today.

    Raises:
        BuildError: the base image is not here and cannot be pulled.
    """
    files = context_files(spec, root)
    base = options.bases.get(spec.name) or options.bases.get("") or _base(spec, files)
    if options.is_fresh or engine.image(base) is None:
        engine.pull(base)
    return Recipe(spec, files, hash_of(files), base, _identity(engine, base), options.arguments)


def labels(recipe: Recipe, root: Path) -> dict[str, str]:
    """Return what the image says of itself (OCI's annotation names)."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    found = {
        CODE_LABEL: recipe.code,
        "visionloop.component": recipe.spec.name,
        "org.opencontainers.image.base.name": recipe.base,
        "org.opencontainers.image.base.digest": recipe.base_id,
        "org.opencontainers.image.description": recipe.spec.description,
        "org.opencontainers.image.revision": _revision(recipe.files, root),
        "org.opencontainers.image.source": _source(_git(root, "remote", "get-url", "origin")),
        "org.opencontainers.image.version": project["version"],
    }
    return {name: text for name, text in found.items() if text}


def context_tar(files: Iterable[ContextFile]) -> bytes:
    """Pack a build context; the same files give the same bytes."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for file in files:
            entry = tarfile.TarInfo(file.path)
            entry.size, entry.mtime = len(file.data), _TIME_S
            entry.mode = 0o755 if file.is_executable else 0o644
            archive.addfile(entry, io.BytesIO(file.data))
    return stream.getvalue()


def _base(spec: ComponentSpec, files: Sequence[ContextFile]) -> str:
    path = f"components/{spec.name}/Dockerfile"
    text = next((file.data.decode() for file in files if file.path == path), "")
    for instruction in read_instructions(text):
        if instruction.word == "ARG" and instruction.rest.startswith("BASE_IMAGE="):
            return instruction.rest.partition("=")[2]
    raise BuildError(f"build: {spec.name}: {path} has no ARG BASE_IMAGE=IMAGE; add it")


def _identity(engine: Engine, base: str) -> str:
    """Return the digest a registry has of the image, else the engine's own of its content."""
    image = engine.image(base)
    if image is None:
        raise BuildError(f"build: base image {base} has gone; build again")
    digests = sorted(image.get("RepoDigests") or ())
    return str(digests[0].partition("@")[2] if digests else image["Id"])


def _revision(files: Sequence[ContextFile], root: Path) -> str:
    """Return the commit, marked where the context is not what that commit holds."""
    commit = _git(root, "rev-parse", "HEAD")
    paths = [file.path for file in files]
    changed = commit and _git(root, "status", "--porcelain", "--", *paths)
    return f"{commit}-modified" if changed else commit


def _source(remote: str) -> str:
    """Return the repository's address without what is nobody's business: tokens, local paths."""
    parts = urlsplit(remote)
    if parts.scheme in ("http", "https"):
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return remote if re.match(r"(ssh://)?git@", remote) else ""


def _git(root: Path, *words: str) -> str:
    """Return git's answer; empty outside a repository, or where there is no git."""
    try:
        done = subprocess.run(
            ["git", *words], cwd=root, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _pair(text: str, flag: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (equals and re.fullmatch(r"\w+", name)):
        raise UsageError(f"build: {flag} takes NAME=VALUE, not '{text}'")
    return name, value
