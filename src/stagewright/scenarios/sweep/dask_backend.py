"""joblib's Dask backend, corrected where a worker dies."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from joblib._dask import DaskDistributedBackend

from stagewright.model.errors import StagewrightError


@dataclass(frozen=True)
class _Lost:
    """Stands for the result of a task that has none."""

    error: BaseException


class CarefulDask(DaskDistributedBackend):
    """Tells joblib also about tasks that ended without a result, and runs none here.

    Dask gives a task up, with ``KilledWorker``, when several workers in a row died with it.
    joblib's backend notes that but does not call back, so that joblib waits for ever. And while one
    worker only is left, joblib would run tasks in this process, which a crash of a solver would
    end.
    """

    def effective_n_jobs(self, n_jobs: int) -> int:
        """Return how many tasks the cluster takes at once, but never one."""
        try:
            return max(2, int(super().effective_n_jobs(n_jobs)))
        except TimeoutError:
            raise StagewrightError(
                "no Dask worker is left; the finished cells are kept, and the same command goes on "
                "from there when there are workers again"
            ) from None

    def submit(self, func: Any, callback: Callable[[Any], None] | None = None) -> Future[Any]:
        """Send a task; ``callback`` is told its result, or that it is lost."""

        def on_done(future: Future[Any]) -> None:
            error = future.exception()
            if error is not None and callback is not None:
                callback(_Lost(error))

        future: Future[Any] = super().submit(func, callback)
        future.add_done_callback(on_done)
        return future

    def retrieve_result_callback(self, out: Any) -> Any:
        """Return a result, or raise why there is none."""
        if isinstance(out, _Lost):
            raise out.error
        found = super().retrieve_result_callback(out)
        if isinstance(found, BaseException):
            raise StagewrightError(
                "the Dask scheduler is gone, or dropped a cell; the finished cells are kept, and "
                "the same command goes on from there"
            ) from found
        return found
