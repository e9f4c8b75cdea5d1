"""python -m ci push [COMPONENT ...]: bring images to a registry, built first where it lacks them.

Goes to ECR of the AWS account (repositories are made with immutable tags and a scan of every
push), or with --registry HOST:PORT/PATH to any other. A tag the registry has is not pushed
again. Prints {component: repository@digest} as JSON, and remembers it in
.visionloop/images.json, from where pipeline.py takes digests in place of tags.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ci.aws import aws_errors
from ci.build import add_build_options, build_recipes, recipes_of
from ci.engine import Engine, connect
from ci.errors import PushError
from ci.images import Recipe
from ci.problems import REPOSITORY
from ci.progress import Watch, watching
from ci.registry import Registry, open_registry
from shared.component.errors import VisionloopError
from shared.pipeline.images import Pushed, repository_of, write_pushed
from shared.pipeline.settings import Settings


def main(argv: Sequence[str], root: Path = REPOSITORY) -> int:
    """Push the chosen images and print their digests."""
    parser = argparse.ArgumentParser(
        prog="python -m ci push",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_build_options(parser)
    parser.add_argument("--registry", default="", help="HOST[:PORT][/PATH]; default: the account's")
    arguments = parser.parse_args(argv)
    settings = replace(Settings.from_environ(), root=root)
    engine = connect()
    with aws_errors("push", PushError, ", or push elsewhere: --registry HOST:PORT"):
        registry = open_registry(arguments.registry, settings, engine)
        recipes = recipes_of(arguments, engine, root)
        build_recipes(absent(recipes, registry), arguments, engine, root)
        with watching(sys.stderr) as watch:
            pushed = push_images(recipes, registry, engine, settings.home, watch)
    uris = {component: entry.uri for component, entry in pushed.items()}
    sys.stdout.write(json.dumps(uris, indent=2) + "\n")
    return 0


def absent(recipes: Sequence[Recipe], registry: Registry) -> list[Recipe]:
    """Return what the registry lacks; a fresh machine of CI builds nothing else."""
    return [r for r in recipes if registry.digest(repository_of(r.spec), r.tag) is None]


def push_images(
    recipes: Sequence[Recipe], registry: Registry, engine: Engine, home: Path, watch: Watch
) -> dict[str, Pushed]:
    """Push images one after the other; what is done is remembered even if a later one fails.

    Raises:
        PushError: the registry refuses one; the message names its component.
    """
    pushed = {}
    for recipe in recipes:
        component = recipe.spec.name
        watch.step(component, f"pushes to {registry.prefix}")
        try:
            entry = push_image(recipe, registry, engine)
        except VisionloopError as err:
            raise PushError(
                f"{component}: {err}; does the registry run, are you logged in, may you push?"
            ) from err
        pushed[component] = entry
        write_pushed(home, {component: entry})
        watch.end(component, entry.uri)
    return pushed


def push_image(recipe: Recipe, registry: Registry, engine: Engine) -> Pushed:
    """Push one image under both its names, unless they are there; return its digest.

    The name by code is for definitions made elsewhere, without the digest. Tags are
    immutable: it stays with the first build of that code, also when the base image moves on.
    """
    repository = repository_of(recipe.spec)
    digest = registry.digest(repository, recipe.tag)
    if digest is None:
        registry.prepare(repository)
        if registry.digest(repository, recipe.code) is None:
            _push(recipe, recipe.code, registry, engine)
        digest = _push(recipe, recipe.tag, registry, engine)  # last: it stands for both
    return Pushed(recipe.code, f"{registry.prefix}/{repository}@{digest}")


def _push(recipe: Recipe, tag: str, registry: Registry, engine: Engine) -> str:
    name = f"{registry.prefix}/{repository_of(recipe.spec)}:{tag}"
    engine.tag(recipe.name, name)
    try:
        return engine.push(name, registry.credentials())
    finally:
        engine.untag(name)
