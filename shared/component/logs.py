"""Logging, configured once per process: logs go to stderr, results to stdout."""

from __future__ import annotations

import logging
import sys

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def configure(level: int = logging.INFO) -> None:
    """Send the log of this process to stderr, third parties' from WARNING up."""
    logging.basicConfig(stream=sys.stderr, format=FORMAT, datefmt="%H:%M:%S")
    for package in ("components", "shared", "ci", "pipeline"):
        logging.getLogger(package).setLevel(level)
