"""The command line of `pipeline.py`. Results on stdout, progress and errors on stderr.

Exit status: 0 done, 1 failed, 2 wrong use. What is slow to import (boto3, rich) is
imported where it is needed, so that --help is quick.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TextIO

from shared.component import logs
from shared.component.errors import UsageError, VisionloopError
from shared.component.port import ParameterValue
from shared.pipeline import cost, seeds, summary
from shared.pipeline.backends.base import Backend
from shared.pipeline.backends.launcher import Launcher
from shared.pipeline.backends.local import LocalBackend
from shared.pipeline.compiler import definition, document
from shared.pipeline.defaults import FILE, adopt
from shared.pipeline.display import describe, follow
from shared.pipeline.dsl import Pipeline
from shared.pipeline.errors import CostError
from shared.pipeline.execution import Execution
from shared.pipeline.graph import Parameter
from shared.pipeline.nearest import nearest
from shared.pipeline.registry import latest_approved
from shared.pipeline.search_space import DEFAULT_SPACE, Space
from shared.pipeline.settings import REPOSITORY, SEARCH_SUFFIX, Settings

Build = Callable[[Settings, str], Pipeline]
BuildSearch = Callable[[Settings, str, Space], Pipeline]
NAME = "visionloop"  # of the pipeline, where no --name is given
ACTIONS = ("definition", "upsert", "start", "list", "describe", "approve", "reject", "adopt")
CHAMPION = "Champion"  # the parameter that names the approved model to compare with


def main(
    build: Build,
    argv: Sequence[str] | None = None,
    environ: Mapping[str, str] = os.environ,
    root: Path = REPOSITORY,
    out: TextIO | None = None,
    build_search: BuildSearch | None = None,
) -> int:
    """Do what the command line asks and return the exit status.

    build, build_search: make the graphs; called with the settings and the pipeline's name.
    """
    settings = Settings.from_environ(environ, root)
    out = out or sys.stdout
    try:
        arguments, build = parse(build, build_search, settings, argv)
        logs.configure()
        return _run(arguments, build, build(settings, arguments.name), settings, environ, out)
    except VisionloopError as err:
        sys.stderr.write(f"error: {err}\n")
        return err.exit_status
    except KeyboardInterrupt:  # only while following SageMaker; a local run stops in order
        sys.stderr.write("stopped looking; what runs on SageMaker goes on, see --list\n")
        return 1
    except OSError as err:
        where = f": {err.filename}" if err.filename else ""
        sys.stderr.write(f"error: pipeline: {err.strerror or err}{where}\n")
        return 1


def parse(
    build: Build, build_search: BuildSearch | None, settings: Settings, argv: Sequence[str] | None
) -> tuple[argparse.Namespace, Build]:
    """Return what the command line says, and what makes the graph that it is about."""
    asked, _ = searching_parser().parse_known_args(argv)
    if asked.tune:
        if build_search is None:
            raise UsageError("pipeline: this pipeline has no search; leave --tune out")
        also = tuple(filter(None, asked.also.split(",")))
        space = Space(Path(asked.space).absolute() if asked.space else None, also)

        build_it: Build = partial(_searching, build_search, space)
    else:
        if asked.space or asked.also:
            raise UsageError("pipeline: --space and --also are about a search; add --tune")
        build_it = build
    arguments = parser(build_it(settings, NAME)).parse_args(argv)
    if arguments.tune and not any(getattr(arguments, action) for action in ACTIONS):
        arguments.upsert = arguments.start = True
    return arguments, build_it


def _searching(build: BuildSearch, space: Space, settings: Settings, name: str) -> Pipeline:
    return build(settings, name, space)


def searching_parser() -> argparse.ArgumentParser:
    """Return what decides which graph is meant, so whose parameters --help lists."""
    result = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    search = result.add_argument_group("search for hyperparameters")
    search.add_argument(
        "--tune",
        action="store_true",
        help="search for better defaults: the pipeline NAME-tune, --upsert and --start implied",
    )
    search.add_argument("--space", default="", metavar="FILE", help=f"default: {DEFAULT_SPACE}")
    search.add_argument(
        "--also", default="", metavar="NAMES", help="search these options of the space too: a,b"
    )
    return result


def parser(pipeline: Pipeline) -> argparse.ArgumentParser:
    """Return the command line, with the pipeline's parameters in its help."""
    result = argparse.ArgumentParser(
        prog="python pipeline.py",
        description="Build, start and look after the pipeline.",
        parents=[searching_parser()],
        epilog="parameters, each as -p Name=value:\n" + "\n".join(_help(pipeline.parameters)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = result.add_argument
    add(
        "--backend",
        choices=["sagemaker", "docker", "local"],
        default="sagemaker",
        help="where: SageMaker (default), or this machine: in containers, as processes",
    )
    add("--name", default=NAME, help=f"pipeline and model group; default: {NAME}")
    run = result.add_argument_group("run")
    run.add_argument("--definition", action="store_true", help="print the definition; needs no AWS")
    run.add_argument("--upsert", action="store_true", help="create or update the pipeline")
    run.add_argument("--start", action="store_true", help="start an execution")
    run.add_argument(
        "--wait", action="store_true", help="follow it to its end; local and docker always do"
    )
    run.add_argument(
        "--seeds",
        type=int,
        default=1,
        metavar="N",
        help="start N runs, of Seed and the following; local, docker: tell mean and spread",
    )
    run.add_argument("--no-cache", action="store_true", help="local, docker: run every step anew")
    run.add_argument(
        "--max-cost", metavar="USD", help="sagemaker: refuse a run that may cost more; inf: any"
    )
    run.add_argument("-p", dest="parameters", action="append", default=[], metavar="Name=value")
    look = result.add_argument_group("look and decide")
    look.add_argument("--list", action="store_true", help="executions and model packages")
    look.add_argument("--describe", metavar="EXECUTION", help="one execution and its steps")
    look.add_argument("--approve", metavar="PACKAGE", help="approve a model package (its ARN)")
    look.add_argument("--reject", metavar="PACKAGE", help="reject a model package (its ARN)")
    look.add_argument("--comment", default="", help="why; kept with the decision")
    look.add_argument(
        "--adopt", metavar="SEARCH", help=f"take a search's result as {FILE}: execution or file"
    )
    return result


def parse_parameters(
    pipeline: Pipeline, words: Sequence[str], folder: Path
) -> dict[str, ParameterValue]:
    """Return the values given as `Name=value`, checked; relative paths made absolute.

    Raises:
        UsageError: unknown name, wrong type, or outside the limits.
    """
    known = {parameter.name: parameter for parameter in pipeline.parameters}
    values: dict[str, ParameterValue] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise UsageError(f"pipeline: '{word}' is no parameter; write -p Name=value")
        if name in pipeline.fixed_elsewhere:
            raise UsageError(f"pipeline: parameter '{name}' {pipeline.fixed_elsewhere[name]}")
        if name not in known:
            raise UsageError(f"pipeline: no parameter '{name}'{nearest(name, known)}")
        is_path = known[name].port.format == "uri" and "://" not in text and text
        if is_path and (folder / Path(text).expanduser()).exists():
            text = str((folder / Path(text).expanduser()).resolve())
        values[name] = known[name].parse(text)
    return values


def _run(
    arguments: argparse.Namespace,
    build: Build,
    pipeline: Pipeline,
    settings: Settings,
    environ: Mapping[str, str],
    out: TextIO,
) -> int:
    given = parse_parameters(pipeline, arguments.parameters, Path.cwd())
    if arguments.definition:
        out.write(definition(pipeline, settings) + "\n")
        return 0
    if not any(getattr(arguments, action) for action in ACTIONS):
        raise UsageError("pipeline: nothing to do; pass --upsert --start, or see --help")
    if arguments.adopt:
        _adopt(arguments, pipeline, settings, out)
        return 0
    if arguments.backend in ("local", "docker"):
        return _act(arguments, _here(arguments, settings, environ), pipeline, settings, given, out)
    from shared.pipeline.backends.account import aws_errors, connect  # imports boto3

    with aws_errors():
        _refuse_local_paths(pipeline, given)
        backend, settings = connect(settings)
        pipeline = build(settings, arguments.name)
        if arguments.start:
            _check_cost(arguments, pipeline, settings, given, out)
        return _act(arguments, backend, pipeline, settings, given, out)


def _here(
    arguments: argparse.Namespace, settings: Settings, environ: Mapping[str, str]
) -> LocalBackend:
    """Return the backend of this machine; an engine is asked only when a run starts."""
    use_cache = not arguments.no_cache
    if arguments.backend == "local":
        return LocalBackend(settings, use_cache, dict(environ))

    def launcher() -> AbstractContextManager[Launcher]:
        from shared.pipeline.backends.docker import engine  # imports docker

        return engine(environ, settings.job_memory)

    return LocalBackend(settings, use_cache, dict(environ), launcher)


def _check_cost(
    arguments: argparse.Namespace,
    pipeline: Pipeline,
    settings: Settings,
    given: Mapping[str, ParameterValue],
    out: TextIO,
) -> None:
    """Say what the run may cost; refuse it above the limit, before anything is sent."""
    limit_usd = cost.parse_usd(arguments.max_cost or settings.max_cost)
    try:
        run = cost.estimate_run(document(pipeline, settings), given, cost.load_prices())
    except CostError as err:
        if limit_usd != math.inf:
            raise
        out.write(f"estimate: unknown ({err})\n")
        return
    out.write(f"estimate: {run}\n")
    cost.refuse_above(limit_usd, run)


def _act(
    arguments: argparse.Namespace,
    backend: Backend,
    pipeline: Pipeline,
    settings: Settings,
    given: dict[str, ParameterValue],
    out: TextIO,
) -> int:
    if arguments.upsert:
        state = backend.upsert(pipeline.name, definition(pipeline, settings))
        out.write(f"pipeline {pipeline.name}: {state}\n")
    status = _start(arguments, backend, pipeline, given, out) if arguments.start else 0
    if arguments.list:
        out.writelines(line + "\n" for line in _listing(backend, pipeline.name))
    if arguments.describe:
        _describe(backend.describe(pipeline.name, arguments.describe), out)
    decisions = ((arguments.approve, "Approved"), (arguments.reject, "Rejected"))
    for package, decision in decisions:
        if package:
            backend.registry.set_status(package, decision, arguments.comment)
            out.write(f"{package}: {decision}\n")
    return status


def _start(
    arguments: argparse.Namespace,
    backend: Backend,
    pipeline: Pipeline,
    given: dict[str, ParameterValue],
    out: TextIO,
) -> int:
    """Start what is asked for, with every seed; return 1 where one failed."""
    if CHAMPION not in given and CHAMPION in {p.name for p in pipeline.parameters}:
        champion = latest_approved(backend.registry, pipeline.name)
        given = given | ({CHAMPION: champion.model_data_url} if champion else {})
    runs = seeds.seeds_of(pipeline, given, arguments.seeds)
    executions = [_start_one(arguments, backend, pipeline, values, out) for values in runs]
    if len(runs) > 1 and isinstance(backend, LocalBackend):
        found = [summary.evaluation(each, backend.store) for each in executions]
        told = zip([values[seeds.SEED] for values in runs], found, strict=True)
        out.writelines(line + "\n" for line in seeds.lines(list(told)))
    return int(any(each.status in ("Failed", "Stopped") for each in executions))


def _start_one(
    arguments: argparse.Namespace,
    backend: Backend,
    pipeline: Pipeline,
    given: dict[str, ParameterValue],
    out: TextIO,
) -> Execution:
    with follow(pipeline.components) as watch:
        execution = backend.start(pipeline.name, given, watch)
        if arguments.wait:
            execution = backend.wait(execution, watch)
    if isinstance(backend, LocalBackend):
        out.writelines(
            line + "\n" for line in summary.lines(execution, backend.store, backend.registry)
        )
    else:
        out.write(f"execution {execution.arn}: {execution.status}\n")
        if execution.reason:
            out.write(f"  {execution.reason}\n")
    return execution


def _adopt(
    arguments: argparse.Namespace, pipeline: Pipeline, settings: Settings, out: TextIO
) -> None:
    """Make what a search has found the defaults of the pipeline's parameters."""
    source = Path(arguments.adopt)
    if not source.is_file() and arguments.backend != "sagemaker":
        backend = LocalBackend(settings)
        execution = backend.describe(arguments.name + SEARCH_SUFFIX, arguments.adopt)
        source = summary.adoptable(execution, backend.store) or source
    found = adopt(source, settings.defaults_file, pipeline.components)
    out.write(f"{settings.defaults_file}: {found.origin}\n")
    out.writelines(f"  {name:<24}{value}\n" for name, value in found.values.items())


def _listing(backend: Backend, name: str) -> list[str]:
    executions = backend.list(name)
    packages = backend.registry.list(name)
    return [
        f"executions of {name}" if executions else f"no execution of {name} yet",
        *(f"  {e.id}  {e.status:<10} {e.start[:19]}  {e.reason}".rstrip() for e in executions),
        f"model packages of {name}" if packages else f"no model package of {name} yet",
        *(f"  {p.arn}  {p.status}  {p.created[:19]}  {p.comment}".rstrip() for p in packages),
    ]


def _describe(execution: Execution, out: TextIO) -> None:
    out.write(f"{execution.arn}\n{execution.status} {execution.reason}".rstrip() + "\n")
    for name, value in execution.parameters.items():
        out.write(f"  {name} = {value}\n")
    for step in execution.steps.values():
        log = f"  log: {step.log}" if step.log else ""
        out.write(f"  {step.name:<14} {describe(step)}{log}\n")


def _refuse_local_paths(pipeline: Pipeline, given: Mapping[str, ParameterValue]) -> None:
    ports = {parameter.name: parameter.port for parameter in pipeline.parameters}
    for name, value in given.items():
        text = str(value)
        if ports[name].format == "uri" and text.startswith(("/", "./", "../", "~", "file://")):
            raise UsageError(
                f"sagemaker: {name} is the local path {text}, which SageMaker cannot read; "
                "copy it with `aws s3 cp --recursive` and give the s3:// location, "
                "or run with --backend local"
            )


def _help(parameters: Sequence[Parameter]) -> list[str]:
    lines = []
    for parameter in parameters:
        port = parameter.port
        origin = f", from {parameter.origin}" if parameter.origin else ""
        default = "empty" if parameter.default == "" else parameter.default
        notes = [f"default: {default}{origin}"]
        if port.enum:
            notes.append("one of " + ", ".join(map(str, port.enum)))
        if port.minimum is not None:
            notes.append(f"from {port.minimum}")
        if port.maximum is not None:
            notes.append(f"to {port.maximum}")
        lines.append(f"  {parameter.name:<20}{port.description} ({'; '.join(notes)})")
    return lines
