"""python -m ci.training_probe: one training watched from inside, or its limit; for bench_training.

    python -m ci.training_probe loop OUT --dataset=FOLDER --epochs=4 ...
    python -m ci.training_probe limit OUT --threads=1 --seconds=5 ...

A process of its own each time, so that no thread pool, cache or import is inherited. `loop`
runs the train component as it is and wraps what Lightning, torch and the component call, so
that every second of the steady epochs belongs to one name: that of the innermost call.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ci.problems import REPOSITORY
from shared.component import logs
from shared.component.files import write_json
from shared.component.layout import Layout
from shared.component.runtime import resolve
from shared.component.spec import load_spec

FRAMEWORK = "Lightning and Python around them"
VALIDATION, PICTURES, CHECKPOINTS = "validation", "pictures", "checkpoints"
FIGURES, WAITING = "figures and log lines", "waiting for a batch"
# What a validation does inside of it is its own, but for these.
_ALWAYS_NAMED = {PICTURES, CHECKPOINTS, FIGURES}


@dataclass
class Stopwatch:
    """Gives every second between start and stop to the innermost named call.

    cpu: the same in seconds of this process's cores, which other work on the machine does not
        stretch as it does those on the wall.
    """

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    cpu: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    calls: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    is_on: bool = False
    _names: list[str] = field(default_factory=lambda: [FRAMEWORK])
    _last: float = 0.0
    _last_cpu: float = 0.0

    def start(self) -> None:
        self._take()
        self.is_on = True

    def stop(self) -> None:
        self._take()
        self.is_on = False

    def watch(self, owner: Any, method: str, name: str) -> None:
        """Replace a method of a class by one that is timed under `name`."""
        call = getattr(owner, method)

        @functools.wraps(call)
        def timed(*arguments: Any, **named: Any) -> Any:
            inner = name
            if VALIDATION in self._names and name not in _ALWAYS_NAMED:
                inner = VALIDATION
            self._take()
            self._names.append(inner)
            self.calls[inner] += self.is_on
            try:
                return call(*arguments, **named)
            finally:
                self._take()
                self._names.pop()

        setattr(owner, method, timed)

    def _take(self) -> None:
        now, now_cpu = time.perf_counter(), time.process_time()
        if self.is_on:
            self.seconds[self._names[-1]] += now - self._last
            self.cpu[self._names[-1]] += now_cpu - self._last_cpu
        self._last, self._last_cpu = now, now_cpu


def loop(flags: dict[str, str]) -> dict[str, Any]:
    """Train as the component does; return phases of the start and seconds by name."""
    import psutil

    moments = {"start": psutil.Process().create_time()}
    moments["interpreter"] = time.time()
    import lightning as L

    from components.train import component

    moments["imports"] = time.time()
    watch = Stopwatch()
    _watch_all(watch)
    epochs: list[float] = []
    history: list[list[dict[str, float]]] = []
    _mark(component, "build", moments, "data opened", "network built")
    fit = component.fit

    def fit_and_keep(*arguments: Any) -> Any:
        moments["fit called"] = time.time()
        fitted = fit(*arguments)
        history.append(fitted.history)
        return fitted

    component.fit = fit_and_keep
    trainer = L.Trainer

    def with_clock(**options: Any) -> L.Trainer:
        options["callbacks"] = [*options["callbacks"], _clock(moments, watch, epochs)]
        return trainer(**options)

    L.Trainer = with_clock  # type: ignore[misc,assignment]
    with tempfile.TemporaryDirectory(prefix="probe-") as scratch:
        flags |= {name: f"{scratch}/{name}" for name in ("model", "logs")}
        layout = Layout(Path(scratch))
        os.environ["SAGEMAKER_BASE_DIR"] = scratch
        spec = load_spec(REPOSITORY / "components" / "train")
        component.run(**resolve(spec, flags, layout))
    return {
        "moments": moments,
        "epochs_s": epochs,
        "seconds": dict(watch.seconds),
        "cpu": dict(watch.cpu),
        "calls": dict(watch.calls),
        "history": history[0],
    }


def limit(flags: dict[str, str]) -> dict[str, Any]:
    """Return images a second, on the wall and of a core, of the network on pixels in memory.

    What is in it: normalise, forward, weighted cross-entropy, backward, optimizer's step. What
    is not: loading, clipping, averaging of weights, schedule, figures, a framework.
    """
    import torch
    from timm.optim import create_optimizer_v2  # type: ignore[attr-defined]

    from components.train.network import build, transform_spec
    from shared.vision.transforms import normalisation

    torch.set_num_threads(int(flags["threads"]))
    size, batch, classes = (int(flags[n]) for n in ("image_size", "batch_size", "classes"))
    network = build(flags["model_name"], classes, size, "none")
    network = network.to(memory_format=torch.channels_last)
    scale, offset = (
        torch.from_numpy(part).view(1, 3, 1, 1)
        for part in normalisation(transform_spec(network, size))
    )
    optimizer = create_optimizer_v2(network.body, flags["optimizer"], lr=1e-3)
    pixels = torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8)
    labels, weights = torch.arange(batch) % classes, torch.ones(classes)

    def step() -> None:
        images = pixels.permute(0, 3, 1, 2).float() * scale + offset  # [B, 3, size, size]
        logits, _ = network(images)
        loss = torch.nn.functional.cross_entropy(logits, labels, weights, label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    for _ in range(5):
        step()
    steps, began, began_cpu = 0, time.perf_counter(), time.process_time()
    while (elapsed := time.perf_counter() - began) < float(flags["seconds"]):
        step()
        steps += 1
    cpu = time.process_time() - began_cpu
    return {"images_per_s": steps * batch / elapsed, "images_per_cpu_s": steps * batch / cpu}


def _watch_all(watch: Stopwatch) -> None:
    from lightning.pytorch import Trainer
    from lightning.pytorch.loops.evaluation_loop import _EvaluationLoop
    from lightning.pytorch.loops.fetchers import _PrefetchDataFetcher
    from lightning.pytorch.plugins.precision import Precision

    from components.train.averaging import WarmedAverage
    from components.train.callbacks import History, TensorBoardPictures
    from components.train.module import TrainingModule
    from components.train.tracking import Board

    watch.watch(_PrefetchDataFetcher, "__next__", WAITING)
    watch.watch(TrainingModule, "training_step", "forward and loss")
    watch.watch(Precision, "backward", "backward")
    watch.watch(Precision, "clip_gradients", "gradient clipping")
    watch.watch(Precision, "optimizer_step", "optimizer's step")
    watch.watch(_EvaluationLoop, "run", VALIDATION)
    for hook in ("on_train_batch_end", "on_validation_epoch_start", "on_validation_epoch_end"):
        watch.watch(WarmedAverage, hook, "averaging of weights")
    for hook in ("on_train_start", "on_validation_epoch_end"):
        watch.watch(TensorBoardPictures, hook, PICTURES)
    for hook in ("on_train_batch_end", "on_train_epoch_end"):
        watch.watch(History, hook, FIGURES)
    watch.watch(Board, "log_metrics", FIGURES)
    watch.watch(Trainer, "save_checkpoint", CHECKPOINTS)


def _mark(owner: Any, name: str, moments: dict[str, float], before: str, after: str) -> None:
    call: Callable[..., Any] = getattr(owner, name)

    def marked(*arguments: Any) -> Any:
        moments[before] = time.time()
        result = call(*arguments)
        moments[after] = time.time()
        return result

    setattr(owner, name, marked)


def _clock(moments: dict[str, float], watch: Stopwatch, epochs: list[float]) -> Any:
    """Return a callback that notes the first batch, and the length of every epoch but the first."""
    import lightning as L

    class Clock(L.Callback):
        began = 0.0

        def on_train_epoch_start(self, trainer: Any, _module: Any) -> None:
            now = time.perf_counter()
            moments.setdefault("first epoch", time.time())
            if trainer.current_epoch == 1:
                watch.start()
            elif trainer.current_epoch > 1:
                epochs.append(now - self.began)
            self.began = now

        def on_train_batch_start(self, *_: Any) -> None:
            moments.setdefault("first batch", time.time())

        def on_train_end(self, *_: Any) -> None:
            epochs.append(time.perf_counter() - self.began)
            watch.stop()

    return Clock()


def main(argv: Sequence[str]) -> int:
    """Probe once and write what was found to a file."""
    parser = argparse.ArgumentParser(prog="python -m ci.training_probe", description=__doc__)
    parser.add_argument("what", choices=["loop", "limit"])
    parser.add_argument("out", type=Path)
    arguments, rest = parser.parse_known_args(argv)
    flags = {}
    for word in rest:
        name, _, value = word.removeprefix("--").partition("=")
        flags[name.replace("-", "_")] = value
    logs.configure()
    write_json(arguments.out, {"loop": loop, "limit": limit}[arguments.what](flags))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
