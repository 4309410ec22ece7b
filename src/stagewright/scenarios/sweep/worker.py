"""What runs in a worker, on this machine or on another."""

from __future__ import annotations

import pickle
import time

from stagewright.model.errors import printable
from stagewright.scenarios.sweep.cells import Job
from stagewright.scenarios.sweep.key import versions
from stagewright.scenarios.sweep.outcome import Outcome, solve


def pack(job: Job) -> bytes:
    """Turn a job into bytes.

    Bytes travel with the task. Objects would be put into a Dask worker's memory first, and be gone
    with it when it dies.
    """
    return pickle.dumps(job)


def answer(packed: bytes, expected_versions: str) -> Outcome:
    """Run one cell. It never raises: what goes wrong is the cell's answer.

    Parameters
    ----------
    packed
        From :func:`pack`, by the process that started this worker.
    expected_versions
        Of that process; a worker with other code or libraries may answer otherwise.
    """
    if versions() != expected_versions:
        return Outcome(
            status="failed",
            remark="the worker has other versions of stagewright, Python or libraries than here",
        )
    began = time.monotonic()
    try:
        return solve(pickle.loads(packed))  # noqa: S301 - made by our own process
    except Exception as error:  # noqa: BLE001 - one cell must not end the others
        text = printable(f"{type(error).__name__}: {error}")
        return Outcome(status="failed", remark=text, wall_s=time.monotonic() - began)
