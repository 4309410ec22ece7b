"""Where cells run: processes of this machine, or a Dask or Ray cluster, all through joblib."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from stagewright.model.errors import InputError
from stagewright.scenarios.sweep.child import prepare

BACKENDS = ("loky", "dask", "ray")
CONNECT_S = 10


@dataclass(frozen=True)
class Backend:
    """A joblib backend that is ready.

    Attributes
    ----------
    name, options
        For ``joblib.parallel_config``.
    cells
        How many cells run at once.
    died
        What joblib raises when a worker dies with a cell.
    streams
        Whether joblib hands back each result when it is there. If not, cells run in rounds.
    """

    name: Any
    options: dict[str, Any]
    cells: int
    died: tuple[type[BaseException], ...]
    streams: bool = True

    def active(self) -> AbstractContextManager[Any]:
        """Make it joblib's backend for a while."""
        import joblib  # noqa: PLC0415 - optional

        config: AbstractContextManager[Any] = joblib.parallel_config(self.name, **self.options)
        return config


@contextmanager
def open_backend(
    name: str, scheduler: str | None, jobs: int | None, threads: int
) -> Iterator[Backend]:
    """Connect to where cells run; cells at once × threads of each never exceed the cores.

    Parameters
    ----------
    name
        One of :data:`BACKENDS`; ``loky`` is processes of this machine.
    scheduler
        Address of the cluster.
    jobs
        Cells at once, or ``None`` for as many as fit.
    threads
        Of the solver, in each cell.

    Raises
    ------
    InputError
        If a library is missing, nobody answers, or there are too few cores.
    """
    require("joblib", name if name != "loky" else None)
    if name == "loky":
        yield _loky(scheduler, jobs, threads)
        return
    if scheduler is None:
        raise InputError(
            f"--backend {name} needs --scheduler, the address of the cluster",
            hint=f"For example --scheduler {'tcp://HOST:8786' if name == 'dask' else 'HOST:6379'}",
        )
    opened = _dask(scheduler, jobs, threads) if name == "dask" else _ray(scheduler, jobs, threads)
    with opened as backend:
        yield backend


def require(*packages: str | None) -> None:
    """Refuse with one line if an optional package is not installed."""
    from importlib.util import find_spec  # noqa: PLC0415 - only here

    extras = {"dask": "dask", "ray": "ray"}
    modules = {"dask": "distributed"}
    for package in packages:
        if package is not None and find_spec(modules.get(package, package)) is None:
            extra = extras.get(package, "sweep")
            raise InputError(
                f"{package} is not installed",
                hint=f"Install it: pip install 'stagewright[{extra}]'",
            )


def fitting(jobs: int | None, threads: int, cores: int) -> int:
    """Return how many cells may run at once.

    >>> fitting(None, 2, 9)
    4

    Raises
    ------
    InputError
        If ``jobs`` × ``threads`` exceeds ``cores``.
    """
    if threads > cores:
        raise InputError(
            f"options.workers is {threads} solver threads, but there are {cores} cores",
            hint="Lower options.workers",
        )
    if jobs is not None and jobs * threads > cores:
        raise InputError(
            f"{jobs} cells at once (--jobs) × {threads} solver threads (options.workers) is more "
            f"than {cores} cores",
            hint=f"Take --jobs {cores // threads} or fewer",
        )
    return jobs or cores // threads


def _loky(scheduler: str | None, jobs: int | None, threads: int) -> Backend:
    import joblib  # noqa: PLC0415 - optional
    from joblib.externals.loky.process_executor import (  # noqa: PLC0415
        BrokenProcessPool,
    )

    if scheduler is not None:
        raise InputError("--scheduler goes with --backend dask or ray")
    cells = fitting(jobs, threads, joblib.cpu_count())
    options = {"initializer": prepare, "initargs": (os.getpid(),)}
    return Backend("loky", options, cells, (BrokenProcessPool,))


@contextmanager
def _dask(scheduler: str, jobs: int | None, threads: int) -> Iterator[Backend]:
    from distributed import Client, KilledWorker  # noqa: PLC0415 - optional

    from stagewright.scenarios.sweep.dask_backend import CarefulDask  # noqa: PLC0415

    try:
        client = Client(scheduler, timeout=CONNECT_S, set_as_default=False)
        client.wait_for_workers(1, timeout=CONNECT_S)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(
            f"no Dask scheduler with workers answers at '{scheduler}': {error}",
            hint="Start one with 'dask scheduler' and 'dask worker ADDRESS'",
        ) from None
    with client:
        slots = _dask_slots(client, threads)
        cells = min(jobs or slots, slots)
        yield Backend(CarefulDask(client=client), {}, cells, (KilledWorker,))


def _dask_slots(client: Any, threads: int) -> int:
    """Count the tasks that the workers take at once, and check them against each host's cores."""
    cores: dict[str, int] = client.run(_cores)
    slots: dict[str, int] = defaultdict(int)
    most: dict[str, int] = {}
    for address, worker in client.scheduler_info(n_workers=-1)["workers"].items():
        slots[worker["host"]] += worker["nthreads"]
        most[worker["host"]] = cores.get(address, 1)
    for host, count in slots.items():
        if count * threads > most[host]:
            raise InputError(
                f"the Dask workers on {host} take {count} cells at once; × {threads} solver "
                f"threads (options.workers) is more than its {most[host]} cores",
                hint="Start them with fewer --nthreads or --nworkers, or lower options.workers",
            )
    return sum(slots.values())


def _cores() -> int:
    import joblib  # noqa: PLC0415 - where the worker runs

    return int(joblib.cpu_count())


@contextmanager
def _ray(address: str, jobs: int | None, threads: int) -> Iterator[Backend]:
    import ray  # noqa: PLC0415 - optional
    from ray.util.joblib import register_ray  # noqa: PLC0415

    try:
        ray.init(address=address, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(f"no Ray cluster answers at '{address}': {error}") from None
    try:
        register_ray()
        cells = fitting(jobs, threads, int(ray.cluster_resources().get("CPU", 0)))
        options = {"ray_remote_args": {"num_cpus": threads}}
        yield Backend("ray", options, cells, (ray.exceptions.RayError,), streams=False)
    finally:
        ray.shutdown()
