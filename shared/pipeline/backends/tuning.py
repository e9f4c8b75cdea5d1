"""SageMaker's hyperparameter tuning step on this machine: trials are training jobs.

<home>/studies/<key>/study.db           the search (study.py); the key covers all that shapes it
<home>/studies/<key>/checkpoints/       of trials that were interrupted
<home>/executions/.../<Step>/log.txt    what happened; trial-NNN/log.txt beside it, a trial's own
s3://.../training/<job>/trials.json     what was tried, for the tune component

The same data, code, space and fixed values find the same study: what an interrupted search has
finished is not run again, and a search with more trials goes on. Of the models only the best
is kept; the TensorBoard logs of all trials stay.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.component import logs
from shared.component.files import write_json
from shared.pipeline.backends.jobs import JobRunner
from shared.pipeline.backends.launcher import Job, Stopped
from shared.pipeline.backends.search_plan import Plan
from shared.pipeline.backends.study import (
    Asked,
    Study,
    alone,
    best_of,
)
from shared.pipeline.errors import JobError

Json = dict[str, Any]
SCHEMA_VERSION = 1
_MOST_SUMMARIES = 50  # TrainingJobSummaries of a tuning step, which SageMaker sorts
_EPOCHS = "epochs"  # the parameter that says how many lines with the objective there will be
_EPOCH = "epoch"  # the metric that numbers them


class Pruned(Exception):  # noqa: N818 - a decision, not an error
    """A trial had better end."""


@dataclass
class Search:
    """Runs one plan. retrying: calls an attempt until it succeeds or its policy is used up."""

    plan: Plan
    runner: JobRunner
    retrying: Callable[[Callable[[], Json]], Json]
    _broken: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _log: logging.Logger = field(default_factory=lambda: logging.getLogger(__name__))

    def run(self) -> Json:
        """Run trials until there are as many as asked for; return what Describe would answer.

        Raises:
            JobError: too many trials failed, or all.
            ExecutionError: another process is at the same search.
            Stopped: the execution is being stopped; what has ended is kept.
        """
        plan = self.plan
        with alone(plan.study), _log_to(plan.log) as log:
            self._log = log
            study = Study(plan.study, plan.config, plan.sign)
            study.begin(plan.first_trial, lambda path: self._reader().read(path))
            self._take_up(study)
            with ThreadPoolExecutor(max_workers=plan.workers) as pool:
                working = [pool.submit(self._work, study) for _ in range(plan.workers)]
                wait(working, return_when=FIRST_EXCEPTION)
                if not all(each.done() and not each.exception() for each in working):
                    self._broken.set()  # one has ended with an error: the others have no use
            errors = [error for each in working if (error := each.exception())]
            for error in sorted(errors, key=lambda error: isinstance(error, Stopped)):
                raise error
            return self._conclude(study)

    def _take_up(self, study: Study) -> None:
        """Try again what stood in the way: the failures of a search that failed, a lost model."""
        trials = study.trials()
        failed = [trial["number"] for trial in trials if trial["state"] == "failed"]
        if len(failed) > self.plan.most_failures or (trials and len(failed) == len(trials)):
            for number in failed:
                study.again(number)
        best = best_of(trials, self.plan.sign)
        if best and not self.runner.store.path(self.plan.model(best["job"])).exists():
            self._log.info("the model of trial %d is gone: it is trained again", best["number"])
            study.again(best["number"])
        if trials:
            self._log.info("going on after %d trials: %s", len(trials), self.plan.study)

    def _work(self, study: Study) -> None:
        plan = self.plan
        while not self._broken.is_set():
            if self.runner.stop.is_set():
                raise Stopped
            with self._lock:
                failed = [t for t in study.trials() if t["state"] == "failed"]
                if len(failed) > plan.most_failures:
                    return
                asked = study.ask(plan.trials)
            if asked is None:
                return
            self._try(study, asked)

    def _try(self, study: Study, asked: Asked) -> None:
        """Run a trial to its end, whichever it is; only a stop leaves it open."""
        plan, started = self.plan, time.monotonic()
        job = self._job(asked)
        study.note(asked, job=job.name, log=str(job.log))
        said = " ".join(f"{name}={value}" for name, value in asked.parameters.items())
        self._log.info("trial %d: %s", asked.number, said)
        reader = self._reader()

        def watch() -> None:
            if self._broken.is_set():
                raise Stopped
            last = int(job.request["HyperParameters"].get(_EPOCHS, 0))
            for epoch, value in reader.read(job.log):
                # After its last epoch a trial is as good as done.
                if study.report(asked, epoch, value) and epoch != last:
                    raise Pruned(f"epoch {epoch}: {plan.objective}={value:.4f}")

        reason, is_pruned = "", False
        try:
            self.retrying(lambda: self.runner.run(job, watch))
        except Pruned as decision:
            reason, is_pruned = str(decision), True
        except JobError as err:
            reason = str(err)
        value = best_value(asked.seen, plan.sign)
        if not reason and value is None:
            reason = f"{plan.spec.name} logged no {plan.objective}"
        study.note(asked, reason=reason, seconds=round(time.monotonic() - started, 1))
        with self._lock:
            self._close(study, asked, None if reason else value, is_pruned)
        if is_pruned or not reason:
            shutil.rmtree(job.checkpoints, ignore_errors=True)
        end = "pruned" if is_pruned else "failed" if reason else f"{plan.objective}={value:.4f}"
        self._log.info("trial %d: %s %s", asked.number, end, reason)
        self._log.info("%s", progress(study.trials(), plan.trials, plan.sign))

    def _close(self, study: Study, asked: Asked, value: float | None, is_pruned: bool) -> None:
        """Record a trial's end; of the models keep that of the best trial."""
        before = study.best()
        study.end(asked, value, is_pruned=is_pruned)
        best = study.best()
        for trial in (before, {"job": f"{self._name(asked)}"}):
            if trial and best and trial["job"] != best["job"]:
                model = self.runner.store.path(self.plan.model(trial["job"]))
                shutil.rmtree(model.parent, ignore_errors=True)

    def _reader(self) -> ObjectiveReader:
        return ObjectiveReader(self.plan.spec.metrics, self.plan.objective)

    def _name(self, asked: Asked) -> str:
        return f"{self.plan.job}-{asked.number:03d}"

    def _job(self, asked: Asked) -> Job:
        plan = self.plan
        identity = json.dumps([asked.number, dict(asked.parameters)], sort_keys=True)
        place = hashlib.sha256(identity.encode()).hexdigest()[:16]
        job = Job(
            execution=plan.execution,
            step=f"{plan.step}-{asked.number:03d}",
            spec=plan.spec,
            request=plan.trial_request(asked.parameters),
            folder=plan.folder / f"trial-{asked.number:03d}",
            checkpoints=plan.study / "checkpoints" / place,
            root=plan.root,
            threads=max(1, plan.threads // plan.workers),
        )
        job.folder.mkdir(parents=True, exist_ok=True)
        return job

    def _conclude(self, study: Study) -> Json:
        plan, trials = self.plan, study.trials()
        failed = [trial for trial in trials if trial["state"] == "failed"]
        best = best_of(trials, plan.sign)
        if best is None or len(failed) > plan.most_failures:
            last = failed[-1]["reason"] if failed else "all were pruned"
            raise JobError(
                f"{plan.step}: {len(failed)} of {len(trials)} trials failed, the last: {last}; "
                f"{plan.most_failures} may; log: {plan.log}"
            )
        self._write_record(trials, best)
        ranked = sorted(
            (trial for trial in trials if trial["value"] is not None),
            key=lambda t: (t["state"] != "complete", -plan.sign * t["value"], t["number"]),
        )
        summaries = [_summary(trial, plan) for trial in ranked[:_MOST_SUMMARIES]]
        return {
            "HyperParameterTuningJobName": plan.job,
            "HyperParameterTuningJobStatus": "Completed",
            "BestTrainingJob": summaries[0],
            "TrainingJobSummaries": summaries,
        }

    def _write_record(self, trials: list[Json], best: Json) -> None:
        plan = self.plan
        definition = plan.request["TrainingJobDefinition"]
        path = plan.folder / "trials.json"
        document = {
            "schema_version": SCHEMA_VERSION,
            "study": plan.key,
            "job": plan.job,
            "component": plan.spec.name,
            "objective": {"metric": plan.objective, "maximise": plan.sign > 0},
            "ranges": plan.config["ParameterRanges"],
            "fixed": definition.get("StaticHyperParameters", {}),
            "seed": int(plan.config.get("RandomSeed", 0)),
            "code": plan.code,
            "best": best["number"],
            "baseline": 1 if trials[0]["parameters"] == plan.first_trial else None,
            "trials": trials,
        }
        write_json(path, document)
        self.runner.store.publish(path, plan.record)


@contextmanager
def _log_to(path: Path) -> Iterator[logging.Logger]:
    """Give a logger of lines like a job's, whose progress the display reads."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter(logs.FORMAT, "%H:%M:%S"))
    logger = logging.Logger("search")
    logger.addHandler(handler)
    try:
        yield logger
    finally:
        handler.close()


@dataclass
class ObjectiveReader:
    """Follows a trial's log and finds the objective after each epoch, as SageMaker does.

    patterns: by metric, from component.yaml; without one for the epoch values are counted.
    """

    patterns: Mapping[str, str]
    objective: str
    _offset: int = 0
    _count: int = 0

    def read(self, path: Path) -> list[tuple[int, float]]:
        """Return what whole lines have told since the last time."""
        if not path.is_file() or path.stat().st_size <= self._offset:
            return []
        with path.open("rb") as stream:
            stream.seek(self._offset)
            chunk = stream.read()
        whole = chunk[: chunk.rfind(b"\n") + 1]
        self._offset += len(whole)
        lines = whole.decode(errors="replace").splitlines()
        return [found for line in lines for found in self._of(line)]

    def _of(self, line: str) -> list[tuple[int, float]]:
        value = re.search(self.patterns[self.objective], line)
        if not value:
            return []
        epoch = re.search(self.patterns[_EPOCH], line) if _EPOCH in self.patterns else None
        self._count = int(epoch[1]) if epoch else self._count + 1
        return [(self._count, float(value[1]))]


def best_value(seen: Mapping[int, float], sign: int) -> float | None:
    """Return a trial's value: that of its best epoch, whose weights train keeps."""
    return max(seen.values(), key=lambda value: sign * value, default=None)


def progress(trials: list[Json], most: int, sign: int) -> str:
    """Return one line for display.py: trials that have ended, the best so far."""
    states = [trial["state"] for trial in trials]
    ended = len(states) - states.count("running")
    words = [f"progress={ended}/{most} unit=trials"]
    if best := best_of(trials, sign):
        words.append(f"best={best['value']:.4f}")
    words += [f"{s}={states.count(s)}" for s in ("pruned", "failed", "running") if s in states]
    return " ".join(words)


def _summary(trial: Json, plan: Plan) -> Json:
    metric = {"MetricName": plan.objective, "Value": trial["value"]}
    return {
        "TrainingJobName": trial["job"],
        "TrainingJobStatus": "Completed" if trial["state"] == "complete" else "Stopped",
        "TunedHyperParameters": trial["parameters"],
        "FinalHyperParameterTuningJobObjectiveMetric": metric,
    }
