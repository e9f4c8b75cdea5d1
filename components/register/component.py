"""Register: model, detector and reports in; the final bundle and one report out.

The native RegisterModel step of the pipeline then tells the registry where they are.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from components.register.golden import golden_difference, write_golden
from components.register.page import write_page
from shared.component.errors import InputError
from shared.component.files import write_json
from shared.vision.bundle import ARCHIVE, Bundle, BundleInfo, open_bundle, pack, write_bundle
from shared.vision.dataset import Dataset
from shared.vision.errors import BundleError
from shared.vision.predictor import Predictor
from shared.vision.report import read_report

log = logging.getLogger(__name__)
_ONNX_TOLERANCE = 1e-4  # what train allows, here on images of the frozen test split

# Of evaluate's report.json: what people look at beside the scalars before they approve.
_MEASURED = ("accuracy_interval_95", "robustness", "epsilons_of_255", "champion")


def run(
    *,
    dataset: Path,
    model: Path,
    detector: Path,
    metrics: Path,
    data_report: Path,
    evaluation_report: Path,
    explanation_report: Path,
    drift_report: Path,
    golden_images: int,
    seed: int,
    package: Path,
    report: Path,
) -> None:
    """Write `package`/model.tar.gz and `report`/index.html with statistics.json."""
    evaluation = _read_evaluation(metrics)
    measured = read_report(evaluation_report)
    quality = measured["multiclass_classification_metrics"]
    data = Dataset.open(dataset)
    with open_bundle(model) as trained, tempfile.TemporaryDirectory(prefix="package-") as scratch:
        if trained.info.dataset_fingerprint != data.info.fingerprint:
            raise BundleError(
                "register: the model was trained on another data set than the one given; give the "
                "data set of the same run"
            )
        final = _assemble(Path(scratch), trained, evaluation["metrics"], detector)
        split = data.split("test")
        golden = write_golden(final.folder / "golden", split, Predictor(final), golden_images, seed)
        info = _without_differing_onnx(final)
        final = write_bundle(final.folder, info)  # once more: golden files have hashes too
        pack(final.folder, package / ARCHIVE)
        chapters = [
            data_report,
            trained.folder / "training",
            evaluation_report,
            explanation_report,
            drift_report,
        ]
        write_page(report / "index.html", final.info, data.info, evaluation, chapters)
    write_json(report / "statistics.json", {"multiclass_classification_metrics": quality})
    told = {name: measured[name] for name in _MEASURED if name in measured}
    facts = {"golden_images": len(golden), "model": _facts(final.info)}
    write_json(report / "report.json", evaluation | told | facts)
    size = (package / ARCHIVE).stat().st_size
    log.info("package: %s, %.1f MB, %d golden images", ARCHIVE, size / 1e6, len(golden))


def _assemble(folder: Path, trained: Bundle, scalars: dict[str, float], detector: Path) -> Bundle:
    """Lay out the bundle that serves: calibrated, with its detector, without training's report."""
    shutil.copy(trained.script, folder)
    shutil.copy(trained.weights, folder)
    if trained.onnx is not None:
        shutil.copy(trained.onnx, folder)
    shutil.copytree(detector, folder / "detector")
    info = replace(
        trained.info,
        temperature=scalars["temperature"],
        metrics=trained.info.metrics | {f"test_{name}": v for name, v in scalars.items()},
    )
    return write_bundle(folder, info)


def _facts(info: BundleInfo) -> dict[str, Any]:
    """Return what was trained, and on what."""
    return {
        "name": info.model_name,
        "image_size": info.transform.image_size,
        "classes": len(info.classes),
        "dataset_fingerprint": info.dataset_fingerprint,
        "code_version": info.code_version,
    }


def _without_differing_onnx(bundle: Bundle) -> BundleInfo:
    """Remove model.onnx unless it gives the golden answers, which are TorchScript's."""
    if bundle.onnx is None:
        return bundle.info
    try:
        predictor = Predictor(bundle, engine="onnx")
        difference = golden_difference(bundle.folder / "golden", predictor)
        if not difference <= _ONNX_TOLERANCE:  # also true for NaN
            raise BundleError(
                f"register: ONNX differs from the golden answers by {difference:.2g} "
                f"(at most {_ONNX_TOLERANCE:g})"
            )
    except BundleError as err:
        log.warning("no model.onnx in the package, TorchScript serves: %s", err)
        bundle.onnx.unlink()
        return replace(bundle.info, onnx_parity=None)
    log.info("model.onnx: golden_difference=%.2g", difference)
    return bundle.info


def _read_evaluation(metrics: Path) -> dict[str, Any]:
    path = metrics / "evaluation.json"
    try:
        document: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as err:
        raise InputError(
            f"register: {path} is no evaluation: {err}; give evaluate's metrics"
        ) from err
    return document
