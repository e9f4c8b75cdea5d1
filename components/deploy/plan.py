"""What an event about a package leads to: a pure decision over what AWS was found to hold.

Wanted is always the newest approved version. An event about a version that is approved
deploys that version or nothing: each approval has its own event. An event about one that is
not, a rejection, may have taken away what serves or what stood before the wanted one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What to do. Only `deploy` changes anything."""

    DEPLOY = "deploy"
    WAIT = "wait"  # somebody else is at it
    NOTHING = "nothing"
    TELL = "tell"  # a person has to know


@dataclass(frozen=True)
class Serving:
    """What serves now, as AWS has it.

    version: of the model package; 0: nothing serves.
    reference: what to go back to: an endpoint config's name, a function's version; "": nothing.
    is_busy: it is being changed.
    problem: why it cannot be changed; "": it can.
    """

    version: int = 0
    reference: str = ""
    is_busy: bool = False
    problem: str = ""


@dataclass(frozen=True)
class Facts:
    """What a decision rests on.

    version: of the event's package; 0: it is gone from the registry.
    is_undecided: the event's package is neither approved nor rejected.
    approved: versions that are approved now, in any order.
    missing_alarms: without them nothing would take a bad version back.
    """

    version: int
    approved: frozenset[int]
    serving: Serving
    missing_alarms: tuple[str, ...] = ()
    is_undecided: bool = False


@dataclass(frozen=True)
class Decision:
    """A verdict, the version it is about, and why, for the history and the notice."""

    verdict: Verdict
    version: int
    reason: str


def decide(facts: Facts) -> Decision:
    """Return what the facts ask for."""
    wanted = max(facts.approved, default=0)
    now = facts.serving.version
    if idle := _why_nothing(facts, wanted):
        return Decision(Verdict.NOTHING, wanted, idle)
    if hindrance := _why_not(facts, wanted):
        return Decision(Verdict.TELL, wanted or now, hindrance)
    if facts.serving.is_busy:
        return Decision(Verdict.WAIT, wanted, "what serves is being changed")
    reason = f"version {wanted} is the newest approved"
    if wanted < now:
        reason = f"version {now} was withdrawn; {wanted} is the newest approved"
    return Decision(Verdict.DEPLOY, wanted, reason)


def _why_not(facts: Facts, wanted: int) -> str:
    """Return what keeps a deployment from being safe, "" where nothing does."""
    if not wanted:
        return (
            f"version {facts.serving.version} serves but is no longer approved, and no other "
            "version is; it goes on serving until one is approved"
        )
    if facts.missing_alarms:
        return (
            f"there is no alarm {', '.join(facts.missing_alarms)}, so that nothing would take a "
            "bad version back; deploy the stack observe, then approve again"
        )
    return facts.serving.problem


def _why_nothing(facts: Facts, wanted: int) -> str:
    """Return why all is as it should be, "" where it is not."""
    now, version = facts.serving.version, facts.version
    if facts.is_undecided and version != now:
        return f"version {version} awaits a decision"  # what it may become has an event of its own
    if not wanted and not now:
        return "nothing is approved and nothing serves"
    if wanted == now:
        if version == now:
            return f"version {now} serves already"
        is_late = version in facts.approved
        return f"version {version} is older than {now}, which serves" if is_late else "as wanted"
    if version in facts.approved and version < wanted:
        return f"version {version} is superseded by {wanted}, which has an event of its own"
    return ""
