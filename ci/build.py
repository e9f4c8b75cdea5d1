"""python -m ci build [COMPONENT ...]: make the images that are not there yet.

What goes in is exactly what component.yaml lists, packed so that the same files give the same
bytes; the name is a hash of that, of the base image and of the build arguments. The whole log
of a build is kept below .visionloop/builds. Prints {component: image} as JSON.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ci.build_log import BuildLog
from ci.engine import Engine, connect
from ci.errors import BuildError
from ci.images import Recipe, add_options, chosen, context_tar, labels, read_options, recipe_of
from ci.problems import REPOSITORY
from ci.progress import Watch, watching
from shared.component.errors import VisionloopError
from shared.pipeline.images import repository_of
from shared.pipeline.settings import Settings

_JOBS = 2  # more share one network and one disk, and finish no sooner
_STOPPED = 130  # what shells report after Ctrl-C


def main(argv: Sequence[str], root: Path = REPOSITORY) -> int:
    """Build what is missing and print the names of all."""
    parser = argparse.ArgumentParser(
        prog="python -m ci build",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_build_options(parser)
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # how CI systems cancel
    try:
        recipes = build_chosen(arguments, connect(), root)
    except KeyboardInterrupt:
        sys.stderr.write("build: stopped\n")
        return _STOPPED
    names = {recipe.spec.name: recipe.name for recipe in recipes}
    sys.stdout.write(json.dumps(names, indent=2) + "\n")
    return 0


def add_build_options(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a build."""
    parser.add_argument(
        "--prune", action="store_true", help="remove these components' older images"
    )
    add_options(parser)
    parser.add_argument(
        "--jobs",
        type=int,
        default=_JOBS,
        choices=range(1, 33),
        metavar="N",
        help="builds at a time",
    )


def build_chosen(arguments: argparse.Namespace, engine: Engine, root: Path) -> list[Recipe]:
    """Build the components that the command line names.

    Raises:
        BuildError: some cannot be built; the others are.
    """
    recipes = recipes_of(arguments, engine, root)
    build_recipes(recipes, arguments, engine, root)
    return recipes


def recipes_of(arguments: argparse.Namespace, engine: Engine, root: Path) -> list[Recipe]:
    """Return how the components that the command line names are made; builds nothing."""
    options = read_options(arguments)
    specs = chosen(arguments.components, root)
    return [recipe_of(spec, root, engine, options) for spec in specs]


def build_recipes(
    recipes: Sequence[Recipe], arguments: argparse.Namespace, engine: Engine, root: Path
) -> None:
    """Build as the command line says.

    Raises:
        BuildError: some cannot be built; the others are.
    """
    logs = Settings.from_environ().home / "builds"
    with watching(sys.stderr) as watch:
        build_images(recipes, Builder(engine, root, logs, watch), arguments.jobs)
    if arguments.prune:
        prune(recipes, engine)


def build_images(recipes: Sequence[Recipe], builder: Builder, jobs: int) -> None:
    """Build what is not there, some at a time.

    Raises:
        BuildError: the messages of all that failed.
    """
    failures: list[str] = []

    def build(recipe: Recipe) -> None:
        try:
            builder.build(recipe)
        except VisionloopError as err:
            builder.watch.end(recipe.spec.name, "failed")
            failures.append(str(err))

    with ThreadPoolExecutor(max_workers=jobs) as pool:
        try:
            list(pool.map(build, recipes))
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            builder.stop()
            raise
    if failures:
        raise BuildError("\n".join(failures))


def prune(recipes: Sequence[Recipe], engine: Engine) -> None:
    """Remove what earlier builds of these components left."""
    for recipe in recipes:
        for name in engine.names(repository_of(recipe.spec)):
            if name not in (recipe.name, recipe.code_name):
                engine.untag(name)


@dataclass
class Builder:
    """Builds images of one repository on one engine.

    logs: folder that keeps the log of each component's last build.
    """

    engine: Engine
    root: Path
    logs: Path
    watch: Watch
    _running: set[subprocess.Popen[bytes]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def build(self, recipe: Recipe) -> None:
        """Make one image unless it is there; see that it starts.

        Raises:
            BuildError: a step failed, or the image does not start.
        """
        component, started = recipe.spec.name, time.monotonic()
        if self.engine.image(recipe.name) is None:
            self.watch.step(component, "starts")
            self.make(recipe, recipe.name)
            try:
                self._try_out(recipe)
            except VisionloopError:
                self.engine.untag(recipe.name)  # the next build would take it for a good one
                raise
            words = f"built in {time.monotonic() - started:.1f} s"
        else:
            words = "is there"
        self.engine.tag(recipe.name, recipe.code_name)
        self.watch.end(component, f"{recipe.name} {words}")

    def make(self, recipe: Recipe, name: str, *flags: str) -> None:
        """Run one build under a name, whatever is there already.

        flags: further ones for `docker buildx build`.
        Raises:
            BuildError: a step failed; the message has its last words and names the log.
        """
        path = self.logs / f"{recipe.spec.name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        log = BuildLog()
        process = self.engine.buildx([*self._command(recipe, name), *flags, "-"])
        with self._lock:
            self._running.add(process)
        feeder = threading.Thread(target=_feed, args=(process, context_tar(recipe.files)))
        feeder.start()
        with process, path.open("wb", buffering=0) as copy:  # people follow it
            for line in process.stdout or ():
                copy.write(line)
                if log.read(line.decode(errors="replace").rstrip()):
                    self.watch.step(recipe.spec.name, log.step)
            feeder.join()
        with self._lock:
            self._running.discard(process)
        if process.returncode:
            raise BuildError(_explain(recipe, log, path))

    def stop(self) -> None:
        """End the builds that run."""
        with self._lock:
            for process in self._running:
                process.terminate()

    def _command(self, recipe: Recipe, name: str) -> list[str]:
        dockerfile = f"components/{recipe.spec.name}/Dockerfile"
        command = ["build", "--progress=plain", "--load", "-f", dockerfile, "-t", name]
        # Lambda and SageMaker refuse the image index that attestations bring.
        command += ["--provenance=false", "--sbom=false"]
        values = {"BASE_IMAGE": recipe.base, **recipe.arguments}
        command += [f"--build-arg={key}={value}" for key, value in values.items()]
        return command + [
            f"--label={key}={text}" for key, text in labels(recipe, self.root).items()
        ]

    def _try_out(self, recipe: Recipe) -> None:
        """Start the image as the platform does, with the one argument that does no work."""
        component, image = recipe.spec.name, self.engine.image(recipe.name) or {}
        entrypoint = image.get("Config", {}).get("Entrypoint") or []
        if entrypoint != list(recipe.spec.container.command):
            raise BuildError(
                f"build: {component}: the image's entrypoint is {entrypoint or 'missing'}, "
                f"component.yaml's command is {list(recipe.spec.container.command)}; correct "
                f"ENTRYPOINT in components/{component}/Dockerfile"
            )
        ended = self.engine.run(recipe.name, ["--help"])
        if ended.status:
            path = self.logs / f"{component}.log"
            with path.open("a") as copy:
                copy.write(f"\ndocker run {recipe.name} --help\n{ended.stderr}")
            last = ended.stderr.strip().splitlines()[-3:]
            raise BuildError(
                f"build: {component}: the image does not start: `docker run {recipe.name} --help` "
                f"exits {ended.status}; log: {path}\n  " + "\n  ".join(last)
            )


def _feed(process: subprocess.Popen[bytes], context: bytes) -> None:
    """Write the context while the log is read; a build that fails early stops reading."""
    if process.stdin is None:
        return
    try:
        process.stdin.write(context)
        process.stdin.close()
    except BrokenPipeError:
        return


def _explain(recipe: Recipe, log: BuildLog, path: Path) -> str:
    component = recipe.spec.name
    step = f"step {log.failed}" if log.failed else "the build"
    message = f"build: {component}: {step} failed: {log.reason or 'no reason given'}"
    if log.has_no_space:
        message = (
            f"build: {component}: no space left for {step}; free some: docker system df, "
            "docker builder prune, docker image prune"
        )
    return "\n  ".join([f"{message}; log: {path}", *log.tail])
