"""Attention without masks, which gives its output alone."""

from __future__ import annotations

from torch import Tensor, nn


class Attention(nn.MultiheadAttention):
    """``nn.MultiheadAttention`` that does not return its weights, and so need not form them."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Return the attended values, of the shape of ``query``."""
        attended, _ = super().forward(query, key, value, need_weights=False)
        return attended
