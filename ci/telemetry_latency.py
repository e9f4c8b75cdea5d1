"""What telemetry adds to latency: the part of bench_serving that alternates within one server.

Two servers of the same settings differ by some percent for as long as they live, so one
percent is never seen between them. A request may ask not to be reported, however, and so
one server answers both kinds, in turns of a second over the same connections: both see the
same processes and the same moods of the machine. A third kind is the second again: between
these two there is nothing, and what the comparison says of them is what it can tell apart.

Both kinds are in a batch at a change, and the collector works on what was reported before:
what is answered in the first moments of a turn does not count. What a request cannot choose
is in both kinds: the front's own count of it (ci/telemetry_cost.py times that) and the drift
tests, which run in a child at idle priority.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats  # type: ignore[import-untyped]

from ci.load import Target, take_turns
from ci.served import BenchError

_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
_CLIENTS = 16
_TURN_S, _SETTLE_S = 0.8, 0.2
_TRIM = 0.1  # at either end
_QUANTILES = {"p50": 0.5, "p99": 0.99}


def latency_ratios(target: Target, turns: int) -> dict[str, Any]:
    """Return the latencies and ratios of reported to unreported requests, and the control's.

    Raises:
        BenchError: an answer is wrong.
    """
    on, off = (
        replace(target, headers=(*target.headers, (_ATTRIBUTES, f"record={value}")))
        for value in ("true", "false")
    )
    # The first turn warms up.
    loads = take_turns([on, off, off], _CLIENTS, _TURN_S, turns + 1, _SETTLE_S)[1:]
    for load in (load for turn in loads for load in turn):
        if load.wrong or not load.latencies_ms:
            raise BenchError(f"bench: {load.wrong} wrong answers, first: {load.first_wrong}")
    found: dict[str, Any] = {"turns": turns}
    for name, share in _QUANTILES.items():
        ms = np.array([[load.quantile_ms(share) for load in turn] for turn in loads])
        found[name] = {
            "on_ms": round(float(np.median(ms[:, 0])), 3),
            "off_ms": round(float(np.median(ms[:, 1:])), 3),
            "on against off": ratio_of(ms[:, 0], np.sqrt(ms[:, 1] * ms[:, 2])),
            "off against off": ratio_of(ms[:, 1], ms[:, 2]),
        }
    return found


def ratio_of(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Return the geometric mean of a / b, pair by pair, with its 95 % interval.

    Of the middle four fifths of the pairs: while another machine on the same host is busy, one
    turn of a pair may be slowed by half, which is neither kind's doing. The interval is Tukey's
    and McLaughlin's for trimmed means (by Student's t, of the winsorised variance).
    """
    logs = np.log(a / b)
    mean = float(stats.trim_mean(logs, _TRIM))
    low, high = (mean, mean)
    if len(logs) > 1:
        low, high = stats.mstats.trimmed_mean_ci(logs, limits=(_TRIM, _TRIM))
    low, middle, high = (round(float(np.exp(x)), 4) for x in (low, mean, high))
    return {"ratio": middle, "its_95_percent_interval": [low, high]}
