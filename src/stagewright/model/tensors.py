"""Tensors whose transfer takes a stated time, where activations and bandwidth do not say it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from stagewright.model.errors import InputError, printable


@dataclass(frozen=True, slots=True)
class TimedTensor:
    """One tensor that one layer makes and others read, forward or backward in the pipeline.

    Attributes
    ----------
    source
        Name of the layer that makes it.
    targets
        Names of the layers that read it.
    transfer_s
        Seconds per minibatch that a device takes to send or to receive it.
    """

    source: str
    targets: tuple[str, ...]
    transfer_s: float


def check_tensors(tensors: Iterable[TimedTensor], layers: Collection[str]) -> None:
    """Raise :class:`InputError` if a tensor names no layer to be planned, or has no time."""
    for tensor in tensors:
        for name in (tensor.source, *tensor.targets):
            if name not in layers:
                raise InputError(
                    f"a tensor of '{printable(tensor.source, 60)}' names "
                    f"'{printable(name, 60)}', which is not a layer to be planned"
                )
        if not tensor.targets:
            raise InputError(f"a tensor of '{tensor.source}' has no reader")
        if not (math.isfinite(tensor.transfer_s) and tensor.transfer_s >= 0):
            raise InputError(
                f"a tensor of '{tensor.source}' takes {tensor.transfer_s} s to transfer; expected "
                "a number of 0 or more"
            )
