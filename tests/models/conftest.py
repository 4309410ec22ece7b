"""Small networks on a shared machine: one thread is faster than two that wait for a core."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is first imported
