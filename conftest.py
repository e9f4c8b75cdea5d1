"""What all tests share: threads that wait quietly, as in a component's own process."""

from __future__ import annotations

import os

# See shared/component/runtime.py; with several test processes on few cores, threads that
# spin while they wait cost a factor of ten. Read when torch is imported, so set here.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
