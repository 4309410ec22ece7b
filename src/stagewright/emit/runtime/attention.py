"""Attention without masks, which gives its output alone."""

from __future__ import annotations

from torch import Tensor, nn


class Attention(nn.MultiheadAttention):
    """``nn.MultiheadAttention`` that need not form the weights that it attends with."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Return the attended values, of the shape of ``query``."""
        attended, _ = super().forward(query, key, value, need_weights=False)
        return attended
