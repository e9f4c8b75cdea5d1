"""What people are told: what happened, what serves now, what they should do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.deploy.plan import Serving

_SUBJECT_CHARS = 100  # the most SNS takes


@dataclass(frozen=True)
class Outcome:
    """How a deployment can end: the headline, and what a person should do."""

    headline: str
    remedy: str


OUTCOMES = {
    "deployed": Outcome("version {version} is deployed", "Nothing."),
    "withdrawn": Outcome(
        "version {version} was withdrawn while it was deployed",
        "Nothing. Approve it again if that was a mistake.",
    ),
    "rolled_back": Outcome(
        "version {version} failed and was taken back",
        "Read the reason. Reject the package, or mend what is wrong and approve it again.",
    ),
    "unfinished": Outcome(
        "version {version} serves, but scaling or cleaning up failed",
        "Read the reason. The next deployment tries both again.",
    ),
    "not_started": Outcome(
        "version {version} is not deployed",
        "Do what the reason says.",
    ),
    "roll_back_failed": Outcome(
        "URGENT: version {version} failed and CANNOT be taken back",
        "Act now: clients may get wrong answers. Bring the previous version back by hand, as the "
        "reason says, and reject the package.",
    ),
    "scaled": Outcome("scaling was changed", "Nothing, if this is what you wanted."),
}


def compose(
    base: str, outcome: str, version: int, serving: Serving | str, reason: str, execution: str
) -> tuple[str, str]:
    """Return the subject and the text of a notice.

    serving: what serves now, or why that is not known.
    """
    known = OUTCOMES[outcome]
    headline = known.headline.format(version=version or "(none)")
    lines = [
        f"{base}: {headline}.",
        "",
        f"Why:       {reason}",
        f"Serving:   {serving if isinstance(serving, str) else describe(serving)}",
        f"To do:     {known.remedy}",
        f"Execution: {execution}",
    ]
    return f"{base}: {headline}"[:_SUBJECT_CHARS], "\n".join(lines)


def describe(serving: Serving) -> str:
    """Say what serves in a few words."""
    if not serving.version:
        return serving.problem or "nothing"
    state = f"; {serving.problem}" if serving.problem else ", being changed" * serving.is_busy
    return f"version {serving.version} ({serving.reference}{state})"


def reason_in(error: Mapping[str, Any]) -> str:
    """Return the message in what Step Functions caught: {"Error": ..., "Cause": ...}."""
    cause = str(error.get("Cause", ""))
    try:
        said = json.loads(cause)
        message = str(said["errorMessage"])
    except (ValueError, KeyError, TypeError):
        message = cause or "no cause given"
    return f"{error.get('Error', 'Error')}: {message}"
