"""python -m ci bench_images [COMPONENT ...]: size, build time and start of every image.

Prints JSON on stdout and the rows of a table on stderr. For each image:
    size     as the engine counts it, unpacked; the base's share; the largest packages
    cold     a build that reuses no layer. BuildKit's cache mounts are kept, so packages that
             were downloaded before are not downloaded again
    changed  the same after one line was added to the component's component.py
    start    from `docker run` to the first word of --help, which the component's own code
             prints: best of five. Beside it the same for an empty Python program in the same
             image, which is what engine and interpreter take
The images built for this are removed. Runs alone; anything beside it falsifies it.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ci.bench import machine
from ci.build import Builder, add_build_options, build_chosen
from ci.engine import Engine, connect
from ci.errors import EngineError
from ci.images import Recipe
from ci.problems import REPOSITORY
from ci.progress import watching
from ci.sbom import probe
from shared.component.spec import ComponentSpec
from shared.pipeline.images import ContextFile, hash_of, repository_of
from shared.pipeline.settings import Settings

Json = dict[str, Any]
_MB = 1_000_000
_ROUNDS = 5
_CHANGED_GOAL_S = 10.0
_START_GOAL_S = 1.5
# Goals of the issue, in MB; torch with a CPU build where one is found, without timm.
_SIZE_GOALS_MB = {"fetch_data": 350, "web": 350, "preprocess": 700}
_TORCH_GOAL_MB = 1800
_TRIAL = "bench"  # tag of what is built to be measured


def main(argv: Sequence[str], root: Path = REPOSITORY) -> int:
    """Measure the chosen images, one after the other."""
    parser = argparse.ArgumentParser(
        prog="python -m ci bench_images",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_build_options(parser)
    parser.add_argument("--no-builds", action="store_true", help="sizes and starts alone")
    arguments = parser.parse_args(argv)
    engine = connect()
    recipes = build_chosen(arguments, engine, root)
    found: Json = {}
    with watching(sys.stderr) as watch:
        builder = Builder(engine, root, Settings.from_environ().home / "builds", watch)
        for recipe in recipes:
            name = recipe.spec.name
            watch.step(name, "is measured")
            times = {} if arguments.no_builds else build_times(recipe, builder)
            found[name] = size_of(recipe, engine) | times | {"start": start_of(recipe)}
            watch.end(name, "measured")
    sys.stderr.writelines(f"{line}\n" for line in table(found))
    sys.stdout.write(json.dumps({"machine": machine(), "images": found}, indent=2) + "\n")
    return 0


def size_of(recipe: Recipe, engine: Engine) -> Json:
    """Return the image's size, the base's, and what takes the most of the rest."""
    image, base = engine.image(recipe.name) or {}, engine.image(recipe.base) or {}
    packages = probe(recipe.name, engine)["python"]
    names = {package["name"].lower() for package in packages}
    largest = sorted(packages, key=lambda package: -package["bytes"])[:6]
    return {
        "size_mb": round(image["Size"] / _MB),
        "goal_mb": size_goal_mb(recipe.spec, names),
        "base_mb": round(base["Size"] / _MB),
        "own_mb": round((image["Size"] - base["Size"]) / _MB),
        "packages_mb": round(sum(package["bytes"] for package in packages) / _MB),
        "largest_mb": {package["name"]: round(package["bytes"] / _MB) for package in largest},
    }


def size_goal_mb(spec: ComponentSpec, packages: set[str]) -> int | None:
    """Return the limit that the issue sets for an image of these packages."""
    if "torch" in packages and "timm" not in packages:
        return _TORCH_GOAL_MB
    return _SIZE_GOALS_MB.get(spec.name)


def build_times(recipe: Recipe, builder: Builder) -> Json:
    """Build the image twice under a name of its own: from nothing, and with one line more."""
    name = f"{repository_of(recipe.spec)}:{_TRIAL}"
    try:
        cold_s = _timed_build(builder, recipe, name, "--no-cache")
        builder.engine.untag(name)  # an image whose name another takes stays behind
        changed_s = _timed_build(builder, changed(recipe), name)
    finally:
        builder.engine.untag(name)
    return {
        "cold_s": round(cold_s, 1),
        "changed_s": round(changed_s, 1),
        "goal_changed_s": _CHANGED_GOAL_S,
    }


def changed(recipe: Recipe) -> Recipe:
    """Return the recipe with one line more in the component's own code."""
    path = f"components/{recipe.spec.name}/component.py"
    line = f"\n# measured at {time.time_ns()}\n".encode()
    files = [
        ContextFile(file.path, file.data + line, file.is_executable) if file.path == path else file
        for file in recipe.files
    ]
    return replace(recipe, files=files, code=hash_of(files))


def start_of(recipe: Recipe) -> Json:
    """Return the best of several starts: the component's first word, and an empty program's."""
    image = recipe.name
    own = [_first_word_s([image, "--help"]) for _ in range(_ROUNDS)]
    empty = ["--entrypoint", "python", image, "-c", "print(1)"]
    engine = [_first_word_s(empty) for _ in range(_ROUNDS)]
    is_light = recipe.spec.name in _SIZE_GOALS_MB
    return {
        "component_s": round(min(own), 2),
        "goal_s": _START_GOAL_S if is_light else None,
        "empty_program_s": round(min(engine), 2),
    }


def table(found: Json) -> list[str]:
    """Return the README's rows."""
    lines = [
        "| image | size, MB | goal | base | ours | largest | cold, s | changed, s | start, s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, image in found.items():
        largest = ", ".join(f"{package} {mb}" for package, mb in _first(image["largest_mb"], 3))
        cells = [f"`{name}`", image["size_mb"], image["goal_mb"] or "", image["base_mb"]]
        cells += [image["own_mb"], largest]
        cells += [image.get("cold_s", ""), image.get("changed_s", "")]
        cells += [image["start"]["component_s"]]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def _first(entries: dict[str, int], count: int) -> list[tuple[str, int]]:
    return list(entries.items())[:count]


def _timed_build(builder: Builder, recipe: Recipe, name: str, *flags: str) -> float:
    started = time.monotonic()
    builder.make(recipe, name, *flags)
    return time.monotonic() - started


def _first_word_s(arguments: Sequence[str]) -> float:
    """Return the seconds from `docker run` to the first byte on its stdout."""
    command = ["docker", "run", "--rm", "--network", "none", *arguments]
    started = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        if process.stdout is None or not re.match(rb".", process.stdout.read(1)):
            raise EngineError(f"bench_images: `{' '.join(command)}` printed nothing; run it")
        seconds = time.monotonic() - started
        process.stdout.read()
    return seconds
