"""What `ci web` decides: when to start, when to switch, when to leave things as they are."""

from __future__ import annotations

import pytest

from ci.web.plan import Action, Health, plan

NONE, OLD, NEW = "", "package/1", "package/2"


@pytest.mark.parametrize(
    ("serving", "newest", "candidate", "health", "action"),
    [
        (NONE, NONE, NONE, Health.STARTING, Action.KEEP),  # nothing was ever approved
        (NONE, OLD, NONE, Health.STARTING, Action.START),  # the first, or one that has died
        (OLD, OLD, NONE, Health.STARTING, Action.KEEP),
        (OLD, NEW, NONE, Health.STARTING, Action.START),  # approved
        (NEW, OLD, NONE, Health.STARTING, Action.START),  # withdrawn: back to what was before
        (OLD, NEW, NEW, Health.STARTING, Action.KEEP),
        (OLD, NEW, NEW, Health.READY, Action.SWITCH),
        (OLD, NEW, NEW, Health.ENDED, Action.FAIL),
        (OLD, NEW, NEW, Health.LATE, Action.FAIL),
        (OLD, OLD, NEW, Health.READY, Action.ABANDON),  # withdrawn while it was starting
        (NONE, NONE, NEW, Health.STARTING, Action.ABANDON),
        (OLD, "package/3", NEW, Health.READY, Action.ABANDON),  # overtaken
    ],
)
def test_the_next_step(
    serving: str, newest: str, candidate: str, health: Health, action: Action
) -> None:
    assert plan(serving, newest, candidate, health) is action
