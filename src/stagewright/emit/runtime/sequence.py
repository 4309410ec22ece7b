"""Layers of sequence models: sequences first, batch second."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

State = tuple[Tensor, Tensor]


class BidirectionalLSTM(nn.Module):
    """An LSTM in both directions over sequences of different lengths.

    Parameters
    ----------
    input_size, hidden_size
        Features in, and features out per direction.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(input_size, hidden_size, bidirectional=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return the outputs of both directions, (time, batch, 2 * hidden_size)."""
        packed = pack_padded_sequence(x, lengths.cpu(), enforce_sorted=False)
        outputs, _ = self.lstm(packed)
        padded, _ = pad_packed_sequence(outputs, total_length=len(x))
        return padded


class RecurrentAttention(nn.Module):
    """An LSTM whose outputs attend to an encoder's (Bahdanau et al., 2015).

    Parameters
    ----------
    input_size, hidden_size, context_size, units
        Features of the input, the LSTM, the encoder's outputs, and the score.
    dropout
        Share of the input that is dropped.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        context_size: int,
        units: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.rnn = nn.LSTM(input_size, hidden_size)
        self.query = nn.Linear(hidden_size, units, bias=False)
        self.key = nn.Linear(context_size, units, bias=False)
        self.score = nn.Parameter(torch.empty(units).uniform_(-0.1, 0.1))

    def forward(
        self, x: Tensor, state: State | None, context: Tensor, lengths: Tensor
    ) -> tuple[Tensor, State, Tensor, Tensor]:
        """Return the LSTM's outputs and state, the attended context, and the scores.

        Shapes: x (time, batch, input), context (context time, batch, context_size),
        lengths (batch,); the scores are (time, batch, context time).
        """
        outputs, state = self.rnn(self.dropout(x), state)
        query = self.query(outputs).unsqueeze(2)
        key = self.key(context).transpose(0, 1).unsqueeze(0)
        scores = torch.tanh(query + key) @ self.score
        steps = torch.arange(len(context), device=lengths.device)
        beyond = steps[None, :] >= lengths[:, None]
        scores = scores.masked_fill(beyond, float("-inf")).softmax(dim=-1)
        attended = torch.einsum("tbs,sbf->tbf", scores, context)
        return outputs, state, attended, scores
