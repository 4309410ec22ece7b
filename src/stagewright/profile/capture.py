"""Recording a network by the best means that works, checked against the network itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from stagewright.model.errors import NetworkError
from stagewright.profile.leaves import Leaves
from stagewright.profile.network import (
    gradients,
    output_gradients,
    quiet_dropout,
    run_network,
)
from stagewright.profile.recording import CannotRecord, Recording
from stagewright.profile.trace import trace
from stagewright.profile.values import as_loaded, features, is_sparse, mapped, parts
from stagewright.profile.watch import DependsOnData, watch

Tell = Callable[[str], None]

SEED = 20_011
CLOSE = 1e-3
"""Largest difference from the network's own gradients, relative to the largest of a weight's.

Sparse kernels add in an order that changes from run to run; dense networks agree in every bit.
"""


@dataclass(frozen=True)
class Captured:
    """A recording that computes what the network computes.

    Attributes
    ----------
    recording
        The calls.
    means
        How they were found: ``torch.fx`` or ``watching a run``.
    values
        Of one replay, to tell shapes from.
    """

    recording: Recording
    means: str
    values: list[Any]


def capture(model: nn.Module, inputs: Any, is_leaf: Leaves, tell: Tell) -> Captured:
    """Record a network.

    Parameters
    ----------
    model, inputs
        The network in training mode, and ``(args, kwargs)`` of its forward.
    is_leaf
        Which modules are layers.
    tell
        Hears in one sentence why a way did not work and what comes next.

    Raises
    ------
    NetworkError
        If no way of recording fits.
    """
    with quiet_dropout(model):
        expected = _expected(model, inputs)
        for means, way, last in (("torch.fx", trace, False), ("watching a run", watch, True)):
            try:
                torch.manual_seed(SEED)
                recording = way(model, mapped(inputs, as_loaded), is_leaf)
                return _checked(model, inputs, recording, expected, means)
            except CannotRecord as error:
                if last:
                    raise NetworkError(
                        f"the network cannot be taken apart: {error}",
                        hint="Name the class of the module in which that happens with --layer",
                    ) from error
                tell(f"{means} does not fit this network ({error}); watching a run instead")
            except DependsOnData as error:
                raise NetworkError(
                    f"what the network does depends on the numbers in its tensors{error}",
                    hint="A layer graph is the same for every minibatch; take the choice out of "
                    "forward, or name the class of the module that makes it with --layer",
                ) from error
    raise AssertionError("there is a last way")


def _expected(model: nn.Module, inputs: Any) -> tuple[list[Any], list[torch.Tensor | None]]:
    torch.manual_seed(SEED)
    outputs = run_network(model, mapped(inputs, as_loaded))
    return outputs, gradients(model, outputs, output_gradients(outputs))


def _checked(
    model: nn.Module,
    inputs: Any,
    recording: Recording,
    expected: tuple[list[Any], list[torch.Tensor | None]],
    means: str,
) -> Captured:
    """Run a recording and compare it with the network: outputs and the gradient of each weight."""
    values, recording = _simplified(recording, inputs)
    outputs = recording.results(values)
    wanted, wanted_gradients = expected
    if len(outputs) != len(wanted):
        raise CannotRecord(f"it found {len(outputs)} outputs, the network has {len(wanted)}")
    found = gradients(model, outputs, output_gradients(wanted))
    for one, other in zip(wanted, outputs, strict=True):
        if not agree(one, other):
            raise CannotRecord("the layers that it found compute something else")
    for one, other in zip(wanted_gradients, found, strict=True):
        if (one is None) != (other is None) or (one is not None and not agree(one, other)):
            raise CannotRecord("the layers that it found have other gradients")
    return Captured(recording, means, values)


def _simplified(recording: Recording, inputs: Any) -> tuple[list[Any], Recording]:
    """Run a recording, take out what computes nothing, and run it again."""
    while True:
        torch.manual_seed(SEED)
        try:
            values = recording.replay(mapped(inputs, as_loaded))
        except CannotRecord:
            raise
        except Exception as error:  # a stand-in may have taken a path that tensors do not
            text = " ".join(str(error).split())[:200]
            raise CannotRecord(f"{type(error).__name__}: {text}") from error
        aliases = recording.passed_through(values)
        if not aliases:
            return values, recording
        recording = recording.without(aliases)


def agree(one: Any, other: Any) -> bool:
    """Return whether two tensors agree; rows of sparse ones are in the order of their numbers."""
    if is_sparse(one) != is_sparse(other) or features(one).shape != features(other).shape:
        return False
    first, second = features(one).detach().double(), features(other).detach().double()
    if is_sparse(one):
        first, second = (x[_order(v.C)] for x, v in ((first, one), (second, other)))
    scale = float(first.abs().max()) if first.numel() else 0.0
    return first.numel() == 0 or float((first - second).abs().max()) <= CLOSE * (scale or 1.0)


def _order(coordinates: torch.Tensor) -> torch.Tensor:
    _, rank = torch.unique(coordinates, dim=0, return_inverse=True)
    return torch.argsort(rank)


__all__ = ["Captured", "capture", "parts"]
