"""Labelling: a review queue in, labels that people agree on out.

serve      the ML backend that Label Studio asks for suggestions
setup      make or repair Label Studio's project
sync       new images in, suggestions fetched, annotations out, merged
status     how far people are
merge      annotations to labels, once
gold       put images with known answers among the others
feedback   put what users said among the tasks
"""

from __future__ import annotations

import importlib

from components.labeling.settings import Secrets, Settings

# Each is imported when it is asked for: a backend needs no plots, a merge no web server.
_COMMANDS = {
    "serve": "app",
    "setup": "project",
    "sync": "sync",
    "status": "status",
    "merge": "merge",
    "gold": "gold_images",
    "feedback": "feedback",
}


def run(
    *,
    queue: str,
    command: str,
    bind: str,
    port: int,
    endpoint: str,
    label_studio: str,
    backend_url: str,
    project: str,
    annotations: str,
    labels: str,
    report: str,
    every_s: float,
    chunk: int,
    concurrency: int,
    deadline_s: float,
    max_image_mb: int,
    blind_share: float,
    overlap_percent: int,
    min_alpha: float,
    min_shared: int,
    min_gold: float,
    allow_loss: bool,
    gold: str,
    image: str,
    said: str,
    as_json: bool,
) -> None:
    """Do one command; serve, and sync with every_s, go on until SIGTERM."""
    ports = dict(locals())
    settings = Settings.read(ports)
    module = importlib.import_module(f"components.labeling.{_COMMANDS[command]}")
    module.run_command(settings, Secrets.from_environ(), ports)
