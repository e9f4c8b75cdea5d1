"""Which images people get to see, as operators last said: a file the collector keeps.

The collector asks Parameter Store once a minute, far from any request (`OperatorWatch`); a
worker looks at the file every few seconds (`RulesFile`). Where no operators are watched
the parameters of the component count.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shared.component.files import write_json
from shared.component.operator import History, OperatorValues, ParameterStore, read_operator

log = logging.getLogger(__name__)
_REFRESH_S = 5.0  # of a worker: a look at a file's time
_POLL_S = 60.0
_MINUTE_S = 60.0


@dataclass(frozen=True)
class ReviewRules:
    """What makes an image one for people.

    min_confidence: percent; below it an image is unsure.
    sampling_interval: every so many-th prediction is an audit sample; 0: none.
    sampling_pause_s: between two audit samples of one worker at least.
    is_on: False: none goes to people.
    """

    min_confidence: float = 70.0
    sampling_interval: int = 1000
    sampling_pause_s: float = 0.0
    is_on: bool = True


def rules_of(operator: OperatorValues) -> ReviewRules:
    """Return the rules that operators' values mean."""
    has_sample = operator.flag("Enable-Automatic-Human-Sampling")
    return ReviewRules(
        min_confidence=operator.number("Minimum-Label-Detection-Confidence"),
        sampling_interval=operator.integer("Human-Sampling-Interval") if has_sample else 0,
        sampling_pause_s=_MINUTE_S * operator.integer("Automatic-Human-Sampling-Frequency"),
        is_on=operator.flag("Enable-Human-Review"),
    )


def rules_path(state: Path) -> Path:
    """Return where the rules lie in a server's state folder."""
    return state / "review_rules.json"


class RulesFile:
    """Call it for the rules in force; default: where the file was never written."""

    def __init__(
        self, path: Path, default: ReviewRules, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._clock = clock
        self._next = 0.0
        self._rules = default

    def __call__(self) -> ReviewRules:
        """Return the last rules; reads the file every few seconds at most."""
        if (now := self._clock()) >= self._next:
            self._next = now + _REFRESH_S
            try:
                self._rules = ReviewRules(**json.loads(self._path.read_text()))
            except FileNotFoundError:
                pass  # nobody watches operators, or the first answer is on its way
            except (OSError, ValueError, TypeError) as err:
                log.warning(
                    "review: %s is not readable (%s); the last rules stand", self._path, err
                )
        return self._rules


class OperatorWatch:
    """Brings operators' values into the file, in a thread of its own.

    poll_s: between two looks. What AWS refuses leaves the rules as they are and is said once.
    """

    def __init__(self, history: History, path: Path, poll_s: float = _POLL_S) -> None:
        self._history = history
        self._path = path
        self._poll_s = poll_s
        self._end = threading.Event()
        self._problem = ""
        self._written: ReviewRules | None = None
        self._thread = threading.Thread(target=self._run, name="operator-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End without waiting for an answer of AWS that is on its way."""
        self._end.set()

    def look(self) -> None:
        """Ask once, and write the file where the rules have changed."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            rules = rules_of(read_operator(self._history))
        except (BotoCoreError, ClientError) as err:
            self._say(f"review: operators' parameters cannot be read: {err}; the last rules stand")
            return
        self._say("")
        if rules != self._written:
            write_json(self._path, asdict(rules))
            self._written = rules
            log.info("review: %s", rules)

    def _run(self) -> None:
        while not self._end.is_set():
            self.look()
            self._end.wait(self._poll_s)

    def _say(self, problem: str) -> None:
        if problem and problem != self._problem:
            log.warning(problem)
        self._problem = problem


def watch_operators(path: str, state: Path) -> OperatorWatch | None:
    """Start watching a path of Parameter Store; None where there is none to watch."""
    if not path:
        return None
    watch = OperatorWatch(ParameterStore(_ssm_client(), path), rules_path(state))
    watch.start()
    return watch


def _ssm_client() -> Any:
    import boto3
    from botocore.config import Config

    config = Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 2})
    return boto3.client("ssm", config=config)
