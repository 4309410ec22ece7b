"""A translator: LSTM encoder, attention, LSTM decoder."""

from __future__ import annotations

import torch
from torch import nn

from stagewright.emit.runtime.sequence import BidirectionalLSTM, RecurrentAttention
from stagewright.scenarios.models import gnmt


class Translator(nn.Module):
    """Four layers of encoder and four of decoder, with residual connections."""

    def __init__(self, sizes: gnmt.Sizes) -> None:
        super().__init__()
        width = sizes.hidden
        self.source = nn.Embedding(sizes.vocabulary, width, padding_idx=gnmt.PADDING)
        self.both_ways = BidirectionalLSTM(width, width)
        self.encoder = nn.ModuleList(nn.LSTM(x, width) for x in (2 * width, width, width))
        self.target = nn.Embedding(sizes.vocabulary, width, padding_idx=gnmt.PADDING)
        self.attention = RecurrentAttention(width, width, width, width)
        self.decoder = nn.ModuleList(nn.LSTM(2 * width, width) for _ in range(3))
        self.words = nn.Linear(width, sizes.vocabulary)
        self.dropout = nn.Dropout(0.2)

    def forward(
        self, source: torch.Tensor, lengths: torch.Tensor, target: torch.Tensor
    ) -> torch.Tensor:
        """Return logits, shape (target, batch, vocabulary)."""
        x = self.both_ways(self.source(source), lengths)
        for layer, lstm in enumerate(self.encoder):
            y, _ = lstm(self.dropout(x))
            x = y if layer == 0 else y + x
        y, _, context, _ = self.attention(self.target(target), None, x, lengths)
        for layer, lstm in enumerate(self.decoder):
            z, _ = lstm(torch.cat([self.dropout(y), context], dim=2))
            y = z if layer == 0 else z + y
        return self.words(y)
