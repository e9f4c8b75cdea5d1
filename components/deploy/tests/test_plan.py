"""What each combination of event, registry and endpoint leads to."""

from __future__ import annotations

import pytest

from components.deploy.plan import Facts, Serving, Verdict, decide

V5 = Serving(5, "base-v5-00000000")
NOTHING = Serving()


@pytest.mark.parametrize(
    ("version", "approved", "serving", "verdict", "about", "why"),
    [
        (1, {1}, NOTHING, "deploy", 1, "newest approved"),
        (6, {5, 6}, V5, "deploy", 6, "newest approved"),
        (5, {5}, V5, "nothing", 5, "serves already"),  # duplicate
        (4, {4, 5}, V5, "nothing", 5, "older than 5"),  # late
        (6, {5, 6, 7}, V5, "nothing", 7, "superseded by 7"),  # out of order, 7 has its own
        (6, {5}, V5, "nothing", 5, "as wanted"),  # rejected, and never served
        (5, {4, 3}, V5, "deploy", 4, "5 was withdrawn"),
        (5, {4, 6}, V5, "deploy", 6, "newest approved"),
        (5, set(), V5, "tell", 5, "goes on serving"),  # withdrawn, nothing to go to
        (7, {5, 6}, V5, "deploy", 6, "newest approved"),  # what hid 6 is withdrawn
        (0, {5}, V5, "nothing", 5, "as wanted"),  # deleted from the registry
        (3, set(), NOTHING, "nothing", 0, "nothing is approved"),
        (6, {6}, Serving(5, "x", is_busy=True), "wait", 6, "being changed"),
        (6, {6}, Serving(0, "x", problem="none of ours"), "tell", 6, "none of ours"),
    ],
)
def test_the_newest_approved_version_is_wanted(
    version: int, approved: set[int], serving: Serving, verdict: str, about: int, why: str
) -> None:
    decision = decide(Facts(version, frozenset(approved), serving))
    assert (decision.verdict, decision.version) == (verdict, about)
    assert why in decision.reason


def test_nothing_is_deployed_without_the_alarms_that_would_take_it_back() -> None:
    decision = decide(Facts(6, frozenset({6}), V5, ("base-endpoint-5xx",)))
    assert decision.verdict is Verdict.TELL
    assert "base-endpoint-5xx" in decision.reason
    assert decide(Facts(5, frozenset({5}), V5, ("x",))).verdict is Verdict.NOTHING


@pytest.mark.parametrize(
    ("version", "approved", "verdict", "about"),
    [
        (7, {5}, "nothing", 5),  # just registered
        (7, {5, 6}, "nothing", 6),  # and no reason to try 6 again, which failed
        (5, {4}, "deploy", 4),  # what serves was set back to pending: withdrawn, too
        (5, set(), "tell", 5),
    ],
)
def test_a_package_that_awaits_its_decision_changes_nothing_unless_it_serves(
    version: int, approved: set[int], verdict: str, about: int
) -> None:
    decision = decide(Facts(version, frozenset(approved), V5, is_undecided=True))
    assert (decision.verdict, decision.version) == (verdict, about)


@pytest.mark.parametrize("serving", [NOTHING, V5, Serving(2, "x")])
def test_only_an_approved_version_is_ever_deployed(serving: Serving) -> None:
    for bits in range(64):
        approved = frozenset(n for n in range(6) if n and bits & 1 << n)
        for version in range(6):
            decision = decide(Facts(version, approved, serving))
            if decision.verdict is Verdict.DEPLOY:
                assert decision.version == max(approved)
                assert decision.version != serving.version
