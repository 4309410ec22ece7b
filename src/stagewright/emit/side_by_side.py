"""The stages and the unsplit network, run on the same data and compared tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import nn

from stagewright.emit.boundaries import Crossing, Partition
from stagewright.emit.program import Tensor
from stagewright.emit.reference import Reference, is_sparse
from stagewright.emit.sample_inputs import sample_inputs
from stagewright.emit.stage_code import crossing_name
from stagewright.emit.verify import (
    RUN_ERRORS,
    TOLERANCE,
    Comparison,
    Precision,
    StageReport,
    VerifyReport,
)
from stagewright.model.errors import InputError, printable


def compare(
    package: ModuleType,
    cut: Partition,
    inputs: Callable[[], Sequence[Any]] | None,
    precision: Precision,
    seed: int,
) -> VerifyReport:
    """Compare a package with the network that ``cut`` describes; see :func:`verify_package`."""
    dtype = torch.float64 if precision == "float64" else torch.float32
    torch.manual_seed(seed)
    reference = Reference(cut.program).to(dtype)
    stages = [stage.to(dtype) for stage in _stages(package, cut)]
    if cut.is_sparse:
        _without_dropout([reference, *stages])
    _copy_weights(reference, stages, cut)
    batch = as_sequence(inputs()) if inputs else sample_inputs(cut.program, seed, dtype)
    batch = [_cast(x, dtype) for x in batch]
    criterion = _Criterion(seed)
    run = _Run(cut, reference, stages, TOLERANCE[precision])
    run.forward(batch, criterion, seed)
    run.backward()
    run.parameters_and_statistics()
    return run.report()


def as_sequence(made: Any) -> list[Any]:
    """Return the inputs of a network, given one of them alone, all of them, or all by name."""
    if isinstance(made, torch.Tensor) or is_sparse(made):
        return [made]
    return list(made.values() if isinstance(made, dict) else made)


class _Criterion:
    """A loss that depends on every element: the mean of the output times fixed noise."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, outputs: Iterable[Any]) -> torch.Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        total: torch.Tensor = torch.zeros(())
        for output in outputs:
            values = _rows(output, _features(output))
            noise = torch.randn(values.shape, generator=generator).to(values)
            total = total.to(values) + (values * noise).mean()
        return total


class _Run:
    """One run of both, and what was found so far."""

    def __init__(
        self, cut: Partition, reference: Reference, stages: list[nn.Module], tolerance: float
    ) -> None:
        self.cut = cut
        self.reference = reference
        self.stages = stages
        self.tolerance = tolerance
        self.found: list[Comparison] = []
        self.received: list[list[Any]] = []
        self.sent: list[list[Any]] = []

    def forward(self, batch: list[Any], criterion: _Criterion, seed: int) -> None:
        """Run both forward and compare what leaves every stage, and the loss."""
        torch.manual_seed(seed)
        with _explained("the unsplit network does not run on this input"):
            self.values = self.reference.run([_apart(x) for x in batch])
        for value in self.values.values():
            if isinstance(value, torch.Tensor) or is_sparse(value):
                features = _features(value)
                if features.requires_grad and not features.is_leaf:
                    features.retain_grad()
        outputs = [self.values[x] for x in self.cut.program.outputs]
        self.reference_loss = criterion(outputs)
        torch.manual_seed(seed)
        arriving = batch
        for k, stage in enumerate(self.stages):
            self.received.append([_apart(x) for x in arriving])
            with _explained(f"stage {k} does not run"):
                left = stage(*self.received[k])
            self.sent.append(list(left) if isinstance(left, tuple) else [left])
            arriving = self._compare_outputs(k)
        self.loss = criterion(arriving)
        self._compare(len(self.stages) - 1, "loss", self.reference_loss, self.loss)

    def _compare_outputs(self, k: int) -> list[Any]:
        expected = self.cut.cuts[k]
        if len(self.sent[k]) != len(expected):
            raise InputError(
                f"stage {k} returns {len(self.sent[k])} tensors, the graph says {len(expected)}"
            )
        for crossing, value in zip(expected, self.sent[k], strict=True):
            name = crossing_name(self.cut, crossing)
            wanted = self._expected(crossing)
            if is_sparse(wanted) != is_sparse(value):
                raise InputError(f"stage {k}: {name} is sparse on one side only")
            if is_sparse(wanted):
                rows = [_rows(x, x.C) for x in (wanted, value)]
                self._compare(k, f"coordinates of {name}", *rows)
                strides = [torch.tensor(x.tensor_stride) for x in (wanted, value)]
                self._compare(k, f"stride of {name}", *strides)
            features = [_rows(x, _features(x)) for x in (wanted, value)]
            self._compare(k, f"output {name}", *features)
        return self.sent[k]

    def _expected(self, crossing: Crossing) -> Any:
        if isinstance(crossing, Tensor):
            return self.values[crossing]
        level = crossing.level
        made = (x for x in self.values.values() if is_sparse(x) and _stride(x) == level)
        return next(made).C

    def backward(self) -> None:
        """Run both backward, stage by stage, and compare the gradients that cross the cuts."""
        self.reference_loss.backward()
        self.loss.backward()
        for k in reversed(range(len(self.stages) - 1)):
            pairs = [
                (_features(left), _features(arrived).grad)
                for left, arrived in zip(self.sent[k], self.received[k + 1], strict=True)
                if _features(left).requires_grad
            ]
            for crossing, arrived in zip(self.cut.cuts[k], self.received[k + 1], strict=True):
                if isinstance(crossing, Tensor) and _features(arrived).requires_grad:
                    self._compare_crossing_gradient(k, crossing, arrived)
            given = [(value, gradient) for value, gradient in pairs if gradient is not None]
            if given:
                torch.autograd.backward([x for x, _ in given], [x for _, x in given])

    def _compare_crossing_gradient(self, k: int, crossing: Tensor, arrived: Any) -> None:
        """Compare a gradient that crosses a cut.

        It is the whole gradient only if nothing before the cut reads the tensor too; a layer
        with several outputs may read one to make another. Of sparse tensors it is not
        compared: where voxels tie (after ReLU many are 0), max pooling gives the gradient to
        the first row, and the order of rows carries no meaning. The ReLU then takes it away
        again, so gradients of parameters do agree.
        """
        readers = self.cut.program.readers.get(crossing, [])
        if (
            crossing.item is not None
            or is_sparse(arrived)
            or any(step.stage <= k for step in readers)
        ):
            return
        name = crossing_name(self.cut, crossing)
        self._compare(k, f"gradient of {name}", self.values[crossing].grad, arrived.grad)

    def parameters_and_statistics(self) -> None:
        """Compare the gradient of every parameter and every buffer."""
        for k in reversed(range(len(self.stages))):
            for step in self.cut.program.stages[k]:
                if step.layer.is_operator:
                    continue
                expected = self.reference.layers[step.module]
                module = getattr(self.stages[k], step.module)
                theirs = dict(module.named_parameters())
                for name, parameter in expected.named_parameters():
                    what = f"gradient of {step.module}.{name}"
                    self._compare(k, what, parameter.grad, theirs[name].grad)
                buffers = dict(module.named_buffers())
                for name, buffer in expected.named_buffers():
                    self._compare(k, f"{step.module}.{name}", buffer, buffers[name])

    def _compare(
        self, stage: int, what: str, expected: torch.Tensor | None, found: torch.Tensor | None
    ) -> None:
        self.found.append(comparison(stage, what, expected, found, self.tolerance))

    def report(self) -> VerifyReport:
        """Sum up."""
        rows = []
        for k, stage in enumerate(self.stages):
            mine = [x for x in self.found if x.stage == k]
            rows.append(
                StageReport(
                    stage=k,
                    layers=len(self.cut.program.stages[k]),
                    parameters=sum(x.numel() for x in stage.parameters()),
                    compared=len(mine),
                    bitwise=sum(x.bitwise for x in mine),
                    largest_difference=max((x.difference for x in mine), default=0.0),
                    equal=not any(x.problem for x in mine),
                )
            )
        return VerifyReport(
            tuple(rows),
            tuple(self.found),
            float(self.reference_loss.detach()),
            float(self.loss.detach()),
            self.tolerance,
        )


def comparison(
    stage: int,
    what: str,
    expected: torch.Tensor | None,
    found: torch.Tensor | None,
    tolerance: float,
) -> Comparison:
    """Compare two tensors, or two missing gradients."""
    if expected is None or found is None:
        if expected is found:
            return Comparison(stage, what, 0.0, bitwise=True)
        where = "the unsplit network" if expected is None else "the stages"
        other = expected if found is None else found
        if other is not None and not other.any():
            return Comparison(stage, what, 0.0, bitwise=False)
        return Comparison(stage, what, float("inf"), bitwise=False, problem=f"missing in {where}")
    if expected.shape != found.shape:
        problem = f"shape {tuple(found.shape)}, expected {tuple(expected.shape)}"
        return Comparison(stage, what, float("inf"), bitwise=False, problem=problem)
    if torch.equal(expected, found):
        return Comparison(stage, what, 0.0, bitwise=True)
    expected, found = expected.detach().double(), found.detach().double()
    scale = float(expected.abs().max()) or 1.0
    difference = float((expected - found).abs().max()) / scale
    problem = "" if difference <= tolerance else f"differs by {difference:.2e} relative"
    return Comparison(stage, what, difference, bitwise=False, problem=problem)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn what layers raise into an error that says where."""
    try:
        yield
    except RUN_ERRORS as error:
        raise InputError(f"{what}: {type(error).__name__}: {printable(str(error), 200)}") from error


def _stages(package: ModuleType, cut: Partition) -> list[nn.Module]:
    rows = package.model(None)
    stages = [row[0] for row in rows[:-1]]
    if len(stages) != cut.program.stage_count:
        raise InputError(
            f"the package has {len(stages)} stages, its graph has {cut.program.stage_count}"
        )
    return stages


def _without_dropout(networks: Iterable[nn.Module]) -> None:
    """Switch dropout off: it draws by row, and the order of sparse rows carries no meaning."""
    for network in networks:
        for module in network.modules():
            if isinstance(module, (nn.Dropout, nn.Dropout2d)):
                module.eval()


def _copy_weights(reference: Reference, stages: list[nn.Module], cut: Partition) -> None:
    for k, stage in enumerate(stages):
        steps = [step for step in cut.program.stages[k] if not step.layer.is_operator]
        labels = {step.module for step in steps}
        children = {name for name, _ in stage.named_children()}
        if children != labels:
            odd = sorted(children ^ labels)[0]
            raise InputError(f"stage {k}: the module '{odd}' is not on both sides")
        for step in steps:
            state = reference.layers[step.module].state_dict()
            try:
                getattr(stage, step.module).load_state_dict(state)
            except RuntimeError as error:
                text = str(error).replace("\n", " ")
                raise InputError(f"stage {k}: the weights of {step.module}: {text}") from None


def _features(value: Any) -> torch.Tensor:
    features: torch.Tensor = value.F if is_sparse(value) else value
    return features


def _rows(value: Any, rows: torch.Tensor) -> torch.Tensor:
    """Return rows of a sparse tensor in the order of its coordinates.

    Coordinate managers number the rows of a level that they make as their hash table has
    them; the order carries no meaning. Coordinates themselves are given as they are sorted.
    """
    if not is_sparse(value) and not _is_coordinates(value):
        return rows
    coordinates = value.C if is_sparse(value) else value
    _, rank = torch.unique(coordinates, dim=0, return_inverse=True)
    return rows[torch.argsort(rank)]


def _is_coordinates(value: torch.Tensor) -> bool:
    return bool(value.dtype == torch.int32 and value.ndim == 2)


def _stride(value: Any) -> tuple[int, ...]:
    return tuple(int(x) for x in value.tensor_stride)


def _cast(value: Any, dtype: torch.dtype) -> Any:
    if is_sparse(value):
        return _rebuilt(value, value.F.to(dtype))
    return value.to(dtype) if value.is_floating_point() else value


def _apart(value: Any) -> Any:
    """Return a tensor as another process would receive it."""
    if is_sparse(value):
        features = value.F.detach().clone().requires_grad_(value.F.requires_grad)
        return _rebuilt(value, features)
    copy = value.detach().clone()
    return copy.requires_grad_(value.requires_grad)


def _rebuilt(value: Any, features: torch.Tensor) -> Any:
    """Return a sparse tensor with the same rows in a coordinate manager of its own."""
    import MinkowskiEngine  # noqa: PLC0415

    manager = MinkowskiEngine.CoordinateManager(D=value.D)
    key, _ = manager.insert_and_map(value.C.clone(), list(_stride(value)))
    return MinkowskiEngine.SparseTensor(
        features, coordinate_map_key=key, coordinate_manager=manager
    )
