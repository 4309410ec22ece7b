"""What crosses the cuts: tensors, and the coordinates that a later stage looks up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from stagewright.emit.coordinates import Level, coordinate_levels, looked_up_from_before
from stagewright.emit.program import Program, Tensor
from stagewright.model.errors import InputError, printable


@dataclass(frozen=True, slots=True)
class Coordinates:
    """The coordinates of a level, sent without features."""

    level: Level


Crossing = Tensor | Coordinates


@dataclass(frozen=True)
class Partition:
    """A program and what its stages hand on.

    Attributes
    ----------
    program
        What runs where.
    levels
        Coordinate level of each sparse node.
    cuts
        What leaves each stage, in the order in which the stage returns it. What leaves the
        last stage are the outputs of the network.
    lookups
        Levels that each stage looks up and has to be given.
    """

    program: Program
    levels: Mapping[str, Level]
    cuts: tuple[tuple[Crossing, ...], ...]
    lookups: tuple[frozenset[Level], ...]

    def arriving(self, stage: int) -> tuple[Crossing, ...]:
        """Return what enters a stage; the inputs of the network enter the first one."""
        if stage == 0:
            return tuple(Tensor(node) for node in self.program.inputs)
        return self.cuts[stage - 1]

    @cached_property
    def is_sparse(self) -> bool:
        """Whether any tensor is sparse."""
        return bool(self.levels)

    def sparse(self, crossing: Crossing) -> bool:
        """Return whether a crossing is a sparse tensor."""
        return isinstance(crossing, Tensor) and crossing.node in self.levels


def partition(program: Program, source: str) -> Partition:
    """Work out what crosses each cut.

    A tensor that is read two stages later crosses both cuts: the stage between hands it on.

    Raises
    ------
    InputError
        If a recurrent state, which is more than one tensor, would cross a cut, or the
        coordinates do not work out.
    """
    levels = coordinate_levels(program, source)
    cuts = _tensor_cuts(program, source)
    lookups = looked_up_from_before(program, levels)
    _add_coordinates(program, levels, cuts, lookups)
    return Partition(
        program,
        levels,
        (*(tuple(cut) for cut in cuts), program.outputs),
        tuple(frozenset(x) for x in lookups),
    )


def _tensor_cuts(program: Program, source: str) -> list[list[Crossing]]:
    last: dict[Tensor, int] = {
        tensor: max(step.stage for step in steps) for tensor, steps in program.readers.items()
    }
    for tensor in program.outputs:
        last[tensor] = program.stage_count - 1
    order = {node: k for k, node in enumerate([*program.inputs, *program.by_node])}
    cuts: list[list[Crossing]] = [[] for _ in range(program.stage_count - 1)]
    for tensor in sorted(last, key=lambda x: (order[x.node], x.item or 0)):
        first = program.stage_of(tensor)
        if first < last[tensor]:
            _check_crosses(program, tensor, source)
        for cut in range(first, last[tensor]):
            cuts[cut].append(tensor)
    return cuts


def _check_crosses(program: Program, tensor: Tensor, source: str) -> None:
    if tensor.item is None:
        return
    layer = program.by_node[tensor.node].layer
    if tensor.item in layer.states:
        raise InputError(
            f"node '{printable(tensor.node, 60)}': its {layer.outputs[tensor.item]} is read in a "
            "later stage, and a recurrent state is more than one tensor",
            source=source,
            hint="Put the layer and the readers of its state into one stage",
        )


def _add_coordinates(
    program: Program,
    levels: Mapping[str, Level],
    cuts: list[list[Crossing]],
    lookups: list[set[Level]],
) -> None:
    """Send the coordinates of a level over every cut where no tensor of the level goes."""
    made_in: dict[Level, int] = {}
    for node in (*program.inputs, *program.by_node):
        if node in levels:
            made_in.setdefault(levels[node], program.stage_of(Tensor(node)))
    for stage, needed in enumerate(lookups):
        for level in sorted(needed):
            for cut in range(made_in[level], stage):
                present = {
                    levels.get(x.node) if isinstance(x, Tensor) else x.level for x in cuts[cut]
                }
                if level not in present:
                    cuts[cut].append(Coordinates(level))
