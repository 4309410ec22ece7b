"""Which modules are layers, measured as a whole, and which are only made of layers."""

from __future__ import annotations

import sys
from collections.abc import Collection

from torch import nn

_IN_EACH_DIMENSION = (
    "Conv",
    "ConvTranspose",
    "BatchNorm",
    "InstanceNorm",
    "MaxPool",
    "AvgPool",
    "AdaptiveAvgPool",
    "AdaptiveMaxPool",
    "ZeroPad",
    "ReflectionPad",
)
_OTHERS = (
    "LayerNorm",
    "GroupNorm",
    "LocalResponseNorm",
    "RMSNorm",
    "Linear",
    "Embedding",
    "Flatten",
    "Identity",
    "Upsample",
    "PixelShuffle",
    "Softmax",
    "LogSoftmax",
    "ReLU",
    "ReLU6",
    "LeakyReLU",
    "ELU",
    "SiLU",
    "GELU",
    "Hardswish",
    "PReLU",
    "Sigmoid",
    "Tanh",
    "Dropout",
    "Dropout2d",
    "LSTM",
    "MultiheadAttention",
)

LAYERS = frozenset([*(f"{x}{d}d" for x in _IN_EACH_DIMENSION for d in (1, 2, 3)), *_OTHERS])
"""Layers of torch.nn that written packages can hold; all others are looked into."""


class Leaves:
    """Tells layers from modules that are made of layers.

    Parameters
    ----------
    named
        Classes of the user's own that count as one layer, by name.
    """

    def __init__(self, named: Collection[str] = ()) -> None:
        self.named = set(named)

    def __call__(self, module: nn.Module) -> bool:
        """Return whether a module is a layer."""
        kind = type(module)
        if kind.__name__ in self.named:
            return True
        if is_of_minkowski(module):
            return True
        of_torch = kind.__module__.startswith("torch.nn.")
        has_hidden_layers = any(True for _ in module.children())
        known = of_torch and kind.__name__ in LAYERS
        return known or (of_torch and not has_hidden_layers) or is_known_composite(module)


def is_of_minkowski(module: nn.Module) -> bool:
    """Return whether a module is one of MinkowskiEngine's own layers."""
    engine = sys.modules.get("MinkowskiEngine")
    return engine is not None and getattr(engine, type(module).__name__, None) is type(module)


def is_known_composite(module: nn.Module) -> bool:
    """Return whether a module is one of those that written packages bring with them."""
    kind = type(module)
    return kind.__name__ in {"BidirectionalLSTM", "RecurrentAttention"} and (
        kind.__module__.rpartition(".")[2] == "sequence"
    )
