"""How pages say times, spans, numbers and states; templates know this module as `words`."""

from __future__ import annotations

from datetime import UTC, datetime

# A sign for each state, since colour alone says nothing to many.
_SIGNS = {
    "Succeeded": "✓",
    "Approved": "✓",
    "InService": "✓",
    "OK": "✓",
    "Failed": "✗",
    "Rejected": "✗",
    "ALARM": "✗",
    "Stopped": "■",
    "Stopping": "■",
    "Executing": "▶",
    "Starting": "▶",
    "Updating": "▶",
    "Creating": "▶",
}
_TONES = {
    "Succeeded": "good",
    "Approved": "good",
    "InService": "good",
    "OK": "good",
    "Failed": "bad",
    "Rejected": "bad",
    "ALARM": "bad",
    "OutOfService": "bad",
    "Executing": "busy",
    "Starting": "busy",
    "Updating": "busy",
    "Creating": "busy",
}
_NAMES = {
    "PendingManualApproval": "waits for a decision",
    "Executing": "running",
    "Waiting": "waiting",
    "NotExecuted": "not needed",
    "InService": "in service",
    "Absent": "nothing is deployed",
    "INSUFFICIENT_DATA": "no data",
    "ALARM": "rings",
    "CompletedWithFailures": "completed with failures",
}


def when(moment: datetime | None) -> str:
    """Return a moment in UTC, "" where there is none."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if moment else ""


def clock(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%H:%M:%S}"


def span(seconds: float | None) -> str:
    """Return how long something took."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def percent(share: float | None, digits: int = 1) -> str:
    return "none" if share is None else f"{100 * share:.{digits}f} %"


def interval(low: float, high: float) -> str:
    return f"95 % interval {percent(low)} to {percent(high)}"


def number(value: float | None, digits: int = 3) -> str:
    return "none" if value is None else f"{value:.{digits}f}"


def count(value: int) -> str:
    return f"{value:,}"


def sign(state: str) -> str:
    return _SIGNS.get(state, "○")


def tone(state: str) -> str:
    """Return the class that colours a state."""
    return _TONES.get(state, "calm")


def name(state: str) -> str:
    """Return a state in plain words."""
    return _NAMES.get(state, state.lower())


def plural(value: int, one: str, many: str = "") -> str:
    return f"{value:,} {one if value == 1 else many or one + 's'}"


def value(thing: object) -> str:
    """Return what an audit entry holds, as a line."""
    if thing is None:
        return ""
    if isinstance(thing, dict):
        return ", ".join(f"{key} = {found}" for key, found in thing.items()) or "defaults"
    return str(thing)
