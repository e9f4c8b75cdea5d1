"""python -m ci COMMAND: every command is the module of that name in this folder.

A command's module has `main(argv) -> int`; it raises VisionloopError for what a person
can act on. Exit status: 0 done, 1 failed, 2 wrong use.
"""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from shared.component import logs
from shared.component.errors import VisionloopError

COMMANDS = {
    "audit": "hold every locked package against the known vulnerabilities",
    "bench": "measure speed and memory, as JSON",
    "bench_labeling": "measure the merge of annotations and the ML backend, as JSON",
    "bench_memory": "measure the endpoint's memory in its image under load, as JSON",
    "bench_recipes": "measure what each part of the training recipe gives or costs",
    "bench_learning": "measure what people's labels are worth, chosen by doubt or by chance",
    "bench_serving": "measure the endpoint beside its limit and other servers, as JSON",
    "bench_training": "measure the training loop beside its network alone, as JSON",
    "bench_tuning": "measure the search for hyperparameters beside random search, as JSON",
    "bench_web": "measure the pages: weight, first paint, many visitors at once, as JSON",
    "bench_images": "measure size, build time and start of the images, as JSON",
    "build": "make the components' images that are not there yet",
    "changed": "list the images that a range of commits would rebuild, and why",
    "check": "hold component folders, Dockerfiles, README tables and locks to the house's rules",
    "cleanup": "list what the project made in AWS; remove all of it with --yes",
    "cost": "estimate a month, idle and in use, and a training run",
    "deploy": "create or update the stacks on AWS, after showing what it would do",
    "diagram": "draw services and what triggers what, from templates and pipeline",
    "fuzz": "throw odd bytes at all that reads a client's bytes",
    "guard": "hold the stacks to the house's own rules by cfn-guard",
    "invite": "let somebody in to a stage's pages, as a consumer or an operator",
    "invoke": "send images to an endpoint, or prove it on its golden images",
    "loop": "play the labelling loop on this machine, with a real Label Studio",
    "push": "bring images to a registry and remember their digests",
    "sbom": "list what is in each image, as CycloneDX JSON",
    "scan": "refuse pushed images that ECR's scan finds vulnerable",
    "serve": "serve the newest approved package of this machine",
    "split_locks": "fit the images' locks to either build of PyTorch (make lock does)",
    "tensorboard": "show the curves and parameters of this machine's runs, side by side",
    "wake": "tell a stage's retrain that it is time to look: after a commit, by hand",
    "web": "show the web pages on this machine, and serve what is approved",
    "soak": "many clients for minutes: every answer checked, memory watched",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the process's exit status."""
    parser = argparse.ArgumentParser(prog="python -m ci", description="Look after the house.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        commands.add_parser(name, help=summary, add_help=False)
    arguments, rest = parser.parse_known_args(argv)
    logs.configure()
    try:
        status: int = importlib.import_module(f"ci.{arguments.command}").main(rest)
    except VisionloopError as err:
        sys.stderr.write(f"error: {err}\n")
        return err.exit_status
    return status


def end_cleanly_by_sigterm() -> None:
    """Let SIGTERM unwind as Ctrl-C does: a benchmark's servers end with it."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)


if __name__ == "__main__":
    end_cleanly_by_sigterm()
    raise SystemExit(main())
