"""What the deployer does next: a pure decision."""

from __future__ import annotations

from enum import Enum


class Action(Enum):
    """What to do next."""

    KEEP = "keep"
    START = "start"
    SWITCH = "switch"
    ABANDON = "abandon"
    FAIL = "fail"


class Health(Enum):
    """How what was started is doing."""

    STARTING = "starting"
    READY = "ready"
    ENDED = "ended"
    LATE = "late"


def plan(serving: str, newest: str, candidate: str, health: Health) -> Action:
    """Decide on the next step; the three packages are ARNs, empty where there is none.

    newest: the newest approved package that has not failed.
    candidate: what was started and has no traffic yet; `health` is its own.
    """
    if candidate and candidate != newest:
        return Action.ABANDON  # withdrawn, or overtaken
    if candidate:
        ends = {Health.READY: Action.SWITCH, Health.STARTING: Action.KEEP}
        return ends.get(health, Action.FAIL)
    return Action.START if newest and newest != serving else Action.KEEP
