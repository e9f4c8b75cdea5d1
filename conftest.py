"""What all tests share: one thread each, since two processes of them run side by side."""

from __future__ import annotations

import os

# Threads that wait for one another spin; with more of them than cores everything becomes
# several times slower. Read when torch is imported, so set here, for child processes too.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
