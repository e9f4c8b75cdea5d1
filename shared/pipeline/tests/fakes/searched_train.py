"""Fake: trains by formula. A good learning rate is 0.003, and `sgd` never becomes good.

TEST_MARK: a folder where each training leaves a file, so that a test sees what ran.
TEST_MISFORTUNE: what happens to whom: `fail:lamb`, `hang:2` (the second training hangs).
"""

import math
import os
import subprocess
import sys
import time
from pathlib import Path

from shared.component.errors import InputError
from shared.component.layout import Layout


def run(
    *,
    dataset: Path,
    model_name,
    optimizer,
    learning_rate,
    epochs,
    model: Path,
    logs: Path,
    **options,
) -> None:
    mark = Path(os.environ["TEST_MARK"])
    begun = len(list(mark.glob("begun-*")))
    (mark / f"begun-{begun + 1:03d}").write_text(f"{model_name} {optimizer} {learning_rate}")
    what, _, whom = os.environ.get("TEST_MISFORTUNE", ":").partition(":")
    if what == "fail" and whom in (optimizer, "all"):
        raise InputError(f"train: {optimizer} is not for this")
    checkpoint = Layout.from_environ().checkpoints / "epoch"
    done = int(checkpoint.read_text()) if checkpoint.exists() else 0
    reached = 1 - abs(math.log10(learning_rate) - math.log10(0.003)) / 4
    reached *= 0.3 if optimizer == "sgd" else 1
    (logs / "events.out.tfevents").write_text(f"{model_name} {optimizer} {learning_rate}")
    for epoch in range(done + 1, epochs + 1):
        f1 = reached * epoch / epochs
        sys.stderr.write(f"epoch={epoch}/{epochs} val_accuracy={f1 / 2:.4f} val_f1={f1:.4f}\n")
        checkpoint.write_text(str(epoch))
        time.sleep(float(os.environ.get("TEST_EPOCH_S", "0.03")))
        if what == "hang" and whom == str(begun + 1) and epoch == 2:
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            (mark / "hanging").write_text(f"{os.getpid()} {child.pid}")
            time.sleep(600)
    (mark / f"ended-{begun + 1:03d}").touch()
    (model / "epochs.txt").write_text(str(epochs))
    (model / "weights.txt").write_text(f"{optimizer} {learning_rate}")
