"""How far people are, what the project lacks, and what the last merge said of agreement."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

from components.labeling.clients import Clients
from components.labeling.errors import AwayError
from components.labeling.model import Model
from components.labeling.settings import Secrets, Settings
from components.labeling.studio import Studio
from shared.component.errors import VisionloopError
from shared.component.object_store import open_store

_CONNECTED = "CO"
_REPORT = "report.json"


def read_status(studio: Studio, settings: Settings, model: Model) -> dict[str, Any]:
    """Return counts and problems; nothing is changed.

    Raises:
        StudioAwayError, StudioError: Label Studio gives no answer, or refuses.
    """
    problems: list[str] = []
    try:
        version = model.describe().version
    except AwayError as err:
        version = ""
        problems.append(str(err))
    listed = studio.get("/api/projects", title=settings.project, page_size=100)["results"]
    found = next((one for one in listed if one["title"] == settings.project), None)
    if found is None:
        problems.append(f"no project {settings.project}; run setup")
        return {"model_version": version, "problems": problems}
    project = int(found["id"])
    status = {"project": project, "model_version": version, **_counts(studio, project, version)}
    if version and found["model_version"] != version and version in status["predictions"]:
        problems.append(f"people see version {found['model_version']}, not {version}; run sync")
    return status | {"backend": _backend(studio, project, settings, problems), "problems": problems}


def _counts(studio: Studio, project: int, version: str) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    predictions: Counter[str] = Counter()
    for task in studio.tasks(project):
        counts["tasks"] += 1
        counts["labelled"] += task.is_labelled
        counts["annotations"] += len(task.annotations) - task.skips
        counts["skipped"] += task.skips
        counts["without_suggestion"] += not task.is_labelled and version not in task.versions
        predictions.update(task.versions)
    names = ("tasks", "labelled", "annotations", "skipped", "without_suggestion")
    return {name: counts[name] for name in names} | {"predictions": dict(predictions)}


def _backend(studio: Studio, project: int, settings: Settings, problems: list[str]) -> str:
    ours = [b for b in studio.get("/api/ml", project=project) if b["url"] == settings.backend_url]
    if not ours:
        problems.append(f"no ML backend {settings.backend_url}; run setup")
        return "none"
    if ours[0]["state"] != _CONNECTED:
        why = ours[0]["error_message"] or "no answer"
        problems.append(f"the ML backend is not connected: {why}")
    return str(ours[0]["readable_state"])


def read_agreement(settings: Settings) -> Mapping[str, Any]:
    """Return what the last merge's report says of it; empty where there is none."""
    if not settings.report:
        return {}
    data = open_store(settings.report).get(_REPORT)
    report = json.loads(data) if data else {}
    return {name: report[name] for name in ("labels", "batches", "pairs") if name in report}


def run_command(settings: Settings, secrets: Secrets, ports: dict[str, Any]) -> None:
    """Print the status.

    Raises:
        VisionloopError: something needs a person.
    """
    clients = Clients.connect(settings)
    studio = Studio(settings.label_studio, secrets)
    status = read_status(studio, settings, Model(clients.runtime, settings.endpoint))
    status["agreement"] = read_agreement(settings)
    if ports["as_json"]:
        sys.stdout.write(json.dumps(status, indent=2) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in _lines(status))
    if status["problems"]:
        raise VisionloopError(f"labeling: {len(status['problems'])} problems, see above")


def _lines(status: Mapping[str, Any]) -> list[str]:
    plain = {n: v for n, v in status.items() if not isinstance(v, (dict, list))}
    lines = [f"{name.replace('_', ' '):<20} {value}" for name, value in plain.items()]
    for version, count in status.get("predictions", {}).items():
        lines.append(f"{'suggestions':<20} {count} of version {version}")
    for batch in status["agreement"].get("batches", ()):
        lines.append(f"{'batch':<20} {', '.join(f'{n} {v}' for n, v in batch.items())}")
    return lines + [f"{'problem':<20} {problem}" for problem in status["problems"]]
