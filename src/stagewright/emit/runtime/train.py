"""Train the stages in this folder.

    torchrun --nproc-per-node=N FOLDER/train.py --data MODULE --steps 100

N is the number of ranks in hybrid_conf.json. MODULE is a Python module of the working
directory with ``inputs(step, microbatch)``, which returns the network's inputs as a
sequence, ``target(step, microbatch)``, and if cross entropy is not wanted
``loss(outputs, target)``. They are called on several ranks and have to return the same
everywhere.

``python FOLDER/train.py --unsplit …`` trains the whole network in one process on the
same microbatches: the losses are the same up to rounding (networks with dropout aside).
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.elastic.multiprocessing.errors import record

FOLDER = Path(__file__).resolve().parent
PACKAGE = "pipeline_stages"


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", required=True, help="module with inputs() and target()"
    )
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument(
        "--microbatches", type=int, help="per step (default: 4 per rank)"
    )
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--momentum", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0, help="of the weights")
    parser.add_argument("--save", type=Path, help="folder for stage0.pt, stage1.pt, …")
    parser.add_argument(
        "--unsplit", action="store_true", help="one process, no pipeline"
    )
    parser.add_argument("--cpu", action="store_true", help="even where there are GPUs")
    parser.add_argument(
        "--schedule",
        choices=("auto", "own", "1f1b", "gpipe"),
        default="auto",
        help="own: sparse tensors and copies of stages too; 1f1b, gpipe: those of "
        "torch.distributed.pipelining; auto: 1f1b where it applies, else own",
    )
    parser.add_argument(
        "--double",
        action="store_true",
        help="weights in float64 (the data have to be too), to compare with --unsplit",
    )
    parser.add_argument(
        "--under-way",
        type=int,
        default=0,
        help="with schedule own: microbatches that each cut may have under way, so "
        "that no stage waits for transfers; each takes the memory of one more",
    )
    parser.add_argument(
        "--times",
        type=Path,
        help="file to add a line of JSON to after every step: seconds of the gradients "
        "and of the update, and when rank 0 began each microbatch",
    )
    parser.add_argument("--timeout-s", type=float, default=600.0, help="of a transfer")
    return parser.parse_args()


def load_package() -> ModuleType:
    """Import this folder as a package, whatever its name."""
    spec = importlib.util.spec_from_file_location(
        PACKAGE, FOLDER / "__init__.py", submodule_search_locations=[str(FOLDER)]
    )
    if spec is None or spec.loader is None:
        raise SystemExit(f"{FOLDER} is not a package")
    package = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = package
    spec.loader.exec_module(package)
    return package


def load_data(name: str) -> ModuleType:
    """Import the module that makes the microbatches."""
    sys.path[0] = str(Path.cwd())
    data = importlib.import_module(name)
    for function in ("inputs", "target"):
        if not callable(getattr(data, function, None)):
            raise SystemExit(
                f"the module '{name}' has no function {function}(step, microbatch)"
            )
    return data


def cross_entropy(outputs: Sequence[Any], target: Tensor) -> Tensor:
    """Compare the first output with classes: a row a target.

    After global pooling the rows of a sparse tensor are point clouds in any order; the
    first coordinate says which.
    """
    output = outputs[0]
    if isinstance(output, Tensor):
        return nn.functional.cross_entropy(output, target)
    if not any(output.tensor_stride):
        target = target[output.C[:, 0].long()]
    return nn.functional.cross_entropy(output.F, target)


def stage_ranks() -> tuple[tuple[int, ...], ...]:
    """Return the ranks of each stage, from hybrid_conf.json."""
    configuration = json.loads(
        (FOLDER / "hybrid_conf.json").read_text(encoding="utf-8")
    )
    ranks = configuration["stage_to_rank_map"]
    return tuple(tuple(ranks[str(k)]) for k in range(len(ranks)))


def optimizer_of(
    module: nn.Module, options: argparse.Namespace
) -> torch.optim.Optimizer:
    """Return the optimizer of a stage, or of the whole network."""
    parameters = list(module.parameters()) or [nn.Parameter(torch.zeros(()))]
    return torch.optim.SGD(parameters, lr=options.lr, momentum=options.momentum)


def run_steps(
    options: argparse.Namespace,
    module: nn.Module,
    step: Callable[[int], float],
    *,
    report: bool,
    starts_s: Sequence[float] = (),
) -> None:
    """Run steps, change the weights after each, and print its loss."""
    optimizer = optimizer_of(module, options)
    for number in range(options.steps):
        optimizer.zero_grad()
        began = time.perf_counter()
        loss = step(number)
        middle = time.perf_counter()
        optimizer.step()
        if not report:
            continue
        print(f"step {number} loss {loss:.9g}", flush=True)  # noqa: T201
        if options.times:
            line = {
                "step": number,
                "gradients_s": middle - began,
                "update_s": time.perf_counter() - middle,
                "forward_starts_s": [x - began for x in starts_s],
            }
            with options.times.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def train_unsplit(options: argparse.Namespace, device: torch.device) -> None:
    """Train the whole network in this process."""
    torch.manual_seed(options.seed)
    network = load_package().full_model().to(device, precision(options))
    pipeline = importlib.import_module(f"{PACKAGE}.pipeline")
    data = load_data(options.data)
    loss_of = getattr(data, "loss", cross_entropy)
    count = microbatches(options)

    def step(number: int) -> float:
        total = 0.0
        for k in range(count):
            inputs = [pipeline.to_device(x, device) for x in data.inputs(number, k)]
            target = pipeline.to_device(data.target(number, k), device)
            loss = loss_of(pipeline.as_list(network(*inputs)), target) / count
            loss.backward()
            total += float(loss.detach())
        return total

    run_steps(options, network, step, report=True)
    if options.save:
        for k in range(len(stage_ranks())):
            save(options.save, k, getattr(network, f"stage{k}"))


def precision(options: argparse.Namespace) -> torch.dtype:
    """Return the type of the weights."""
    return torch.float64 if options.double else torch.float32


def microbatches(options: argparse.Namespace) -> int:
    """Return the number of microbatches of a step."""
    if options.under_way < 0:
        raise SystemExit("--under-way: expected 0 or more")
    if options.microbatches is None:
        return 4 * sum(len(x) for x in stage_ranks())
    if options.microbatches < 1:
        raise SystemExit("--microbatches: a step needs one at least")
    return int(options.microbatches)


def save(folder: Path, stage: int, module: nn.Module) -> None:
    """Write the weights of a stage."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(module.state_dict(), folder / f"stage{stage}.pt")


@contextmanager
def process_group(options: argparse.Namespace, device: torch.device) -> Iterator[int]:
    """Join the other ranks, and leave them when all is done."""
    ranks = sum(len(x) for x in stage_ranks())
    if int(os.environ.get("WORLD_SIZE", "1")) != ranks:
        raise SystemExit(
            f"the plan has {ranks} ranks: "
            f"torchrun --nproc-per-node={ranks} {FOLDER}/train.py"
        )
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        timeout=dt.timedelta(seconds=options.timeout_s),
    )
    yield dist.get_rank()
    dist.barrier()
    dist.destroy_process_group()


def train_pipeline(options: argparse.Namespace, device: torch.device) -> None:
    """Train this rank's stage."""
    with process_group(options, device) as rank:
        torch.manual_seed(options.seed)
        rows = load_package().model(None)[:-1]
        pipeline = importlib.import_module(f"{PACKAGE}.pipeline")
        data = load_data(options.data)
        loss = getattr(data, "loss", cross_entropy)
        place = pipeline.Place.of(rank, stage_ranks())
        module = rows[place.stage][0].to(device, precision(options))
        arriving = len(rows[place.stage][1])
        del rows
        count = microbatches(options)
        part = pipeline.Pipeline(
            place, module, arriving, loss, data, device, count, options.under_way
        )
        step = part.step
        if library_schedule(options, place, data):
            library = importlib.import_module(f"{PACKAGE}.library_schedule")
            step = library.make_step(options.schedule, part)
        run_steps(options, module, step, report=rank == 0, starts_s=part.starts_s)
        if options.save:
            part.average_statistics()
            if place.replica == 0:
                save(options.save, place.stage, module)


def library_schedule(options: argparse.Namespace, place: Any, data: ModuleType) -> bool:
    """Return whether torch.distributed.pipelining runs the steps.

    It takes straight pipelines with rank k at stage k, and floating-point tensors only.
    """
    straight = all(members == (k,) for k, members in enumerate(place.ranks))
    applies = straight and len(place.ranks) > 1
    applies = applies and all(
        isinstance(x, Tensor) and x.is_floating_point() for x in data.inputs(0, 0)
    )
    if options.schedule in {"1f1b", "gpipe"} and not applies:
        raise SystemExit(
            f"--schedule {options.schedule} takes dense networks with one rank a stage"
        )
    return applies and options.schedule != "own"


@record  # type: ignore[untyped-decorator, unused-ignore]
def main() -> None:
    """Train."""
    options = arguments()
    device = torch.device("cpu")
    if torch.cuda.is_available() and not options.cpu:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    (train_unsplit if options.unsplit else train_pipeline)(options, device)


if __name__ == "__main__":
    main()
