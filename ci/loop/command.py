"""python -m ci loop: from an uncertain prediction to a model that learned from people.

    python -m ci loop
    python -m ci loop --data intel-scenes.zip --labelled 600 -p Epochs=20
    python -m ci loop --by-hand    # label in Label Studio yourself, then press Enter

On this machine alone, with neither AWS nor Docker: the endpoint, its review queue, a real
Label Studio with scripted annotators, the merge, `retrain` and the pipeline; moto stands for
S3 and for SageMaker's list of executions. What it leaves is in FOLDER, report.html first.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from ci.loop.page import lines, write_page
from ci.loop.story import Options, play
from shared.component.errors import UsageError

_MARK = ".visionloop-loop"
# Small enough for minutes on two cores, large enough to be wrong about something.
_SAMPLE = "sample://scenes?images=600&test=600&unlabelled=0&size=64"
_TRAINING = {
    "ImageSize": "48",
    "Epochs": "12",
    "BatchSize": "16",
    "PretrainedWeights": "none",
    "LearningRate": "0.006",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Play the loop; print a page and write a report."""
    arguments = _parser().parse_args(argv)
    folder = _empty(Path(arguments.folder).absolute())
    training = dict(_TRAINING)
    for word in arguments.parameters:
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"loop: '{word}' is no parameter; write -p Name=value")
        training[name] = value
    data = arguments.data
    if "://" not in data:
        data = str(Path(data).expanduser().absolute())
    endpoint = {
        "min-confidence": str(arguments.min_confidence),
        "sampling-interval": str(arguments.sampling_interval),
        "workers": "2",
    }
    options = Options(data, arguments.labelled, arguments.slips, arguments.seed, training, endpoint)
    told = play(folder, options)
    sys.stdout.writelines(f"{line}\n" for line in lines(told, options))
    sys.stdout.write(f"report  {write_page(told, options, folder)}\n")
    return 0


def _wait_for_a_person(where: str) -> None:
    sys.stderr.write(f"\nLabel at {where}\nPress Enter when you have labelled ten or more: ")
    sys.stderr.flush()
    sys.stdin.readline()


def _empty(folder: Path) -> Path:
    """Make the folder, or empty it if an earlier loop left it."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / _MARK).exists():
            raise UsageError(f"loop: {folder} holds files that are no loop's; pass --folder NEW")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).touch()
    return folder


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ci loop",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--data", default=_SAMPLE, help="images with a test folder; default: the generated sample")
    add("--labelled", type=int, default=240, help="images the first run trains on; default: 240")
    add("--slips", type=_share, default=0.03, help="of an annotator's labels; default: 0.03")
    add("--min-confidence", type=float, default=70.0, help="percent; below, people look; 70")
    add("--sampling-interval", type=int, default=8, help="every so many-th is audited; 8")
    add("--by-hand", action="store_true", help="no scripted people: label in Label Studio yourself")
    add("--seed", type=int, default=0)
    add("--folder", default=".visionloop/loop", help="for all it leaves; default: %(default)s")
    add("-p", dest="parameters", action="append", default=[], metavar="Name=value")
    return parser


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError("a share is from 0 to 1")
    return value
