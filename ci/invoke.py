"""python -m ci invoke: send images to an endpoint, or prove it on its golden images.

    python -m ci invoke --endpoint http://127.0.0.1:8080 cat.jpg dog.jpg --top-k 3
    python -m ci invoke --endpoint NAME --golden        # the smoke test after a deployment

--endpoint is an endpoint's name on AWS, or the address of one at home: both are asked by
boto3's invoke_endpoint. Exit status 1 when anything was not answered as it should be.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ci.endpoint import Answer, Endpoint, RefusedError
from ci.packages import newest_approved
from shared.component.errors import UsageError
from shared.pipeline.settings import Settings
from shared.vision.bundle import open_bundle
from shared.vision.errors import BundleError
from shared.vision.golden import TOLERANCE, GoldenImage, read_golden

_NOT_RECORDED = "record=false"  # golden images are not what the world sends
_NEWEST = ""  # --golden without a value


def main(argv: Sequence[str] | None = None) -> int:
    """Send what is asked and return 1 if an answer is missing or wrong."""
    arguments = _parser().parse_args(argv)
    if not arguments.images and arguments.golden is None:
        raise UsageError("invoke: nothing to send; name image files, or pass --golden")
    endpoint = Endpoint.at(arguments.endpoint)
    is_sound = True
    if arguments.images:
        is_sound = _send(endpoint, arguments)
    if arguments.golden is not None:
        is_sound = _prove(endpoint, arguments.golden, arguments.json) and is_sound
    return 0 if is_sound else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ci invoke",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("images", nargs="*", type=Path, metavar="IMAGE")
    add("--endpoint", required=True, help="name on AWS, or http://host:port[/name]")
    add(
        "--golden",
        nargs="?",
        const=_NEWEST,
        metavar="BUNDLE",
        help="send a bundle's golden images and compare; no value: the newest approved package",
    )
    add("--top-k", type=int, default=0, help="show so many labels an image")
    add("--explain", action="store_true", help="ask for an occlusion map")
    add("--json", action="store_true", help="JSON lines instead of a table")
    return parser


def _send(endpoint: Endpoint, arguments: argparse.Namespace) -> bool:
    """Send the images; return whether all were answered."""
    wishes = [f"top-k={arguments.top_k}"] if arguments.top_k else []
    wishes += ["explain=true"] if arguments.explain else []
    answers: dict[Path, Answer] = {}
    for path in arguments.images:
        try:
            answers[path] = endpoint.ask(path.read_bytes(), ";".join(wishes))
        except RefusedError as err:
            sys.stderr.write(f"error: {path}: {err}\n")
        except OSError as err:
            sys.stderr.write(f"error: {path}: {err.strerror}; give an image file\n")
    if arguments.json:
        sys.stdout.writelines(json.dumps(line) + "\n" for line in _lines(answers))
    elif answers:
        _print_table(answers)
    return set(answers) == set(arguments.images)


def _lines(answers: dict[Path, Answer]) -> Iterator[dict[str, Any]]:
    for path, answer in answers.items():
        fields = asdict(answer)
        prediction = fields.pop("prediction")
        fields["latency_ms"] = round(fields["latency_ms"], 3)
        yield {"file": str(path), **prediction, **fields}


def _print_table(answers: dict[Path, Answer]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="")
    has_map = any("explanation" in answer.prediction for answer in answers.values())
    table.add_column("file", overflow="fold")
    table.add_column("label", overflow="fold")
    for name in ("confidence", "entropy", "latency_ms"):
        table.add_column(name, justify="right")
    table.add_column("version", overflow="fold")
    if has_map:
        table.add_column("rests on")
    for path, answer in answers.items():
        said = answer.prediction
        cells = [
            str(path),
            _labels(said),
            f"{said['confidence']:.4f}",
            f"{said['entropy']:.4f}",
            f"{answer.latency_ms:.1f}",
            answer.model_version,
        ]
        table.add_row(*cells, *([_place(said["explanation"]["map"])] if has_map else []))
    width = None if sys.stdout.isatty() else 200  # a file has none; rich would take 80
    Console(file=sys.stdout, markup=False, highlight=False, width=width).print(table)


def _labels(said: dict[str, Any]) -> str:
    """Return the label, or the ranked ones where top-k was asked for."""
    ranked: Iterable[dict[str, Any]] = said.get("top", ())
    return ", ".join(f"{e['label']} {e['probability']:.4f}" for e in ranked) or str(said["label"])


def _place(occlusion: list[list[float]]) -> str:
    """Name the place of an occlusion map that speaks most for the label."""
    array = np.array(occlusion)
    row, column = np.unravel_index(array.argmax(), array.shape)
    return f"row {row + 1}, column {column + 1} of {len(array)}"


def _prove(endpoint: Endpoint, place: str, is_json: bool) -> bool:
    """Send a bundle's golden images; return whether every answer is the expected one."""
    path = newest_approved(Settings.from_environ()).archive if place == _NEWEST else Path(place)
    with open_bundle(path) as bundle:
        golden, classes = read_golden(bundle), bundle.info.classes
    if not golden:
        raise BundleError(f"invoke: no golden images in {path}; give a bundle that register packed")
    checked = [_check(endpoint, image, classes) for image in golden]
    for image, (_, wrong) in zip(golden, checked, strict=True):
        if wrong:
            sys.stderr.write(f"error: golden image {image.name} ({image.label}): {wrong}\n")
    count = sum(bool(wrong) for _, wrong in checked)
    largest = float(np.max([difference for difference, _ in checked]))
    if is_json:
        shown = largest if np.isfinite(largest) else None  # JSON has no infinity
        facts = {"golden": len(golden), "wrong": count, "largest_difference": shown}
        sys.stdout.write(json.dumps(facts) + "\n")
    else:
        sys.stdout.write(
            f"{len(golden)} golden images, {count} wrong; "
            f"largest difference {largest:.2g} (at most {TOLERANCE:g})\n"
        )
    return count == 0


def _check(endpoint: Endpoint, image: GoldenImage, classes: Sequence[str]) -> tuple[float, str]:
    """Return the largest difference of probabilities, and what is wrong if anything is."""
    try:
        said = endpoint.ask(image.data, _NOT_RECORDED).prediction.get("probabilities", {})
    except RefusedError as err:
        return float("inf"), str(err)
    if list(said) != list(classes):
        return float("inf"), "answered with other classes; this is another model"
    expected = np.array(image.probabilities)
    difference = float(np.abs(np.array(list(said.values())) - expected).max())
    is_right = difference <= TOLERANCE  # false for NaN
    return difference, "" if is_right else f"{difference:.2g} off"
