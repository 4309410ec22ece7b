"""Keeping the memory of arrays that come and go."""

from __future__ import annotations

import numpy as np

LARGEST = 30 << 20
"""Bytes; glibc takes note of blocks of up to 32 MiB."""


def keep_freed_memory() -> None:
    """Have freed arrays of up to :data:`LARGEST` bytes stay with the process.

    glibc returns large blocks to the system as soon as they are free and has every page of the
    next one mapped anew, which takes a third of the time of searches that make arrays of some
    megabytes again and again. It keeps blocks that are no larger than one that was freed once
    (mallopt(3), M_MMAP_THRESHOLD). Elsewhere this does nothing.
    """
    np.empty(LARGEST, dtype=np.uint8)
