"""Errors of evaluate.

VisionloopError          (shared.component) exit status 1
└── EvaluationError      figures contradict each other, or cannot be computed
"""

from __future__ import annotations

from shared.component.errors import VisionloopError


class EvaluationError(VisionloopError):
    """Figures contradict each other, or cannot be computed."""
