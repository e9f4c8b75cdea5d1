"""Suggestions for a batch of Label Studio's tasks, as many as a deadline allows.

Tasks are independent: what goes wrong with one leaves it without a suggestion, and Label
Studio asks again. Its place in the answer is then `[]`; anything else would be stored, and a
stored one is never asked for again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, field
from typing import Any

from components.labeling.errors import EndpointAwayError, NoSuggestionError
from components.labeling.images import QueueImages
from components.labeling.label_config import LabelConfig, check_labels
from components.labeling.model import Answer, Model
from components.labeling.withheld import Withheld

log = logging.getLogger(__name__)
Prediction = dict[str, Any] | list[Any]  # [] is none


@dataclass(frozen=True)
class _Batch:
    """What the tasks of one request have in common."""

    config: LabelConfig
    end: float
    is_away: threading.Event = field(default_factory=threading.Event)


class Suggestions:
    """Answers whole requests; safe to call from several threads.

    pool: what calls of the endpoint run in, of all requests together.
    deadline_s: for one request; what is not there by then is left out.
    """

    def __init__(
        self,
        model: Model,
        images: QueueImages,
        withheld: Withheld,
        pool: Executor,
        deadline_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model = model
        self._images = images
        self._withheld = withheld
        self._pool = pool
        self._deadline_s = deadline_s
        self._clock = clock

    def predict(self, tasks: Sequence[Mapping[str, Any]], config: LabelConfig) -> list[Prediction]:
        """Return a prediction or `[]` for each task, in their order.

        tasks: {"id": .., "data": {KEY: URI}}, KEY as the configuration names it.

        Raises:
            ConfigError: the model's labels are not the configuration's.
            QueueAwayError: nobody can say which images are measured.
        """
        started = self._clock()
        self._withheld.refresh()
        batch = _Batch(config, started + self._deadline_s)
        futures = [self._pool.submit(self._one, task, batch) for task in tasks]
        _, late = wait(futures, timeout=max(0.0, batch.end - self._clock()))
        for future in late:
            future.cancel()
        outcomes = [self._outcome(task, f) for task, f in zip(tasks, futures, strict=True)]
        self._report(outcomes, self._clock() - started)
        return [[] if isinstance(outcome, NoSuggestionError) else outcome for outcome in outcomes]

    def _outcome(
        self, task: Mapping[str, Any], future: Future[dict[str, Any]]
    ) -> dict[str, Any] | NoSuggestionError:
        if not future.done() or future.cancelled():
            return NoSuggestionError("late", "the time for this request was over")
        err = future.exception()
        if err is None:
            return future.result()
        if isinstance(err, NoSuggestionError):
            if err.reason not in ("late", "away"):
                log.warning("predict: task %s has no suggestion: %s", task.get("id"), err)
            return err
        raise err

    def _one(self, task: Mapping[str, Any], batch: _Batch) -> dict[str, Any]:
        if self._clock() >= batch.end:
            raise NoSuggestionError("late", "the time for this request was over")
        if batch.is_away.is_set():
            raise NoSuggestionError("away", "the endpoint is away")
        data = task.get("data")
        uri = data.get(batch.config.data_key) if isinstance(data, dict) else None
        sha256 = self._images.sha256_of(uri)
        try:
            answer = self.model.ask(self._images.read(uri))
        except EndpointAwayError as err:
            if not batch.is_away.is_set():
                log.warning("predict: %s", err)
            batch.is_away.set()  # the others need not find out one by one
            raise NoSuggestionError("away", str(err)) from err
        check_labels(batch.config, answer.labels)
        return _prediction(answer, batch.config, is_shown=not self._withheld(sha256))

    def _report(self, outcomes: Sequence[object], took_s: float) -> None:
        left = Counter(o.reason for o in outcomes if isinstance(o, NoSuggestionError))
        log.info(
            "predict: tasks=%d predicted=%d seconds=%.2f%s",
            len(outcomes),
            len(outcomes) - left.total(),
            took_s,
            "".join(f" {reason}={count}" for reason, count in sorted(left.items())),
        )


def _prediction(answer: Answer, config: LabelConfig, *, is_shown: bool) -> dict[str, Any]:
    """Return what Label Studio stores.

    Without a result people see no suggestion; the score still orders what they see.
    """
    result = {
        "id": "suggestion",
        "from_name": config.from_name,
        "to_name": config.to_name,
        "type": "choices",
        "value": {"choices": [answer.label]},
        "score": answer.confidence,
    }
    return {
        "model_version": answer.model_version,
        "score": answer.confidence,
        "result": [result] if is_shown else [],
    }
