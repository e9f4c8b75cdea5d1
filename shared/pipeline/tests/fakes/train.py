"""Fake: `optimizer` names a misfortune, `epochs` makes the model good."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from shared.component.errors import InputError
from shared.component.layout import Layout


def run(*, dataset: Path, epochs, optimizer, model: Path, logs: Path, **options) -> None:
    checkpoint = Layout.from_environ().checkpoints / "last"
    if checkpoint.exists():
        sys.stderr.write("resumed from checkpoint\n")
    checkpoint.write_text("x")
    (model / "half").write_text("half-written")
    sys.stderr.write("epoch=1 val_f1=0.71\nprogress=3/4 unit=batches\n")
    if optimizer == "error":
        raise InputError("train: the data are bad; bring better")
    if optimizer == "bug":
        raise ZeroDivisionError("nobody thought of that")
    if optimizer == "die" and not (Path(os.environ["TEST_MARK"])).exists():
        Path(os.environ["TEST_MARK"]).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if optimizer == "hang":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(os.environ["TEST_MARK"]).write_text(f"{os.getpid()} {child.pid}")
        time.sleep(600)
    (model / "half").unlink()
    (model / "weights.txt").write_text((dataset / "dataset.json").read_text())
    (model / "epochs.txt").write_text(str(epochs))
    (logs / "events").write_text("event")
