"""Networks that the tests of this folder profile, and minibatches for them."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn
from torch.nn import functional

from stagewright.scenarios.models import model


class Block(nn.Module):
    """A transformer block with the norm first."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x):
        y = self.norm1(x)
        y, _ = self.attention(y, y, y, need_weights=False)
        x = x + y
        return x + self.mlp(self.norm2(x))


class Encoder(nn.Module):
    """A transformer encoder that classifies sequences of tokens."""

    def __init__(self, width: int = 32, heads: int = 4, blocks: int = 2) -> None:
        super().__init__()
        self.embed = nn.Embedding(100, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(blocks)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, tokens):
        x = self.embed(tokens) * 5.0
        return self.head(self.norm(self.blocks(x)).mean(dim=1))


class AttentionByHand(nn.Module):
    """Attention written with views, chunks and products; its sizes are computed with."""

    def __init__(self, width: int = 16, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (y.view(b, t, self.heads, c // self.heads).transpose(1, 2) for y in (q, k, v))
        scores = functional.softmax(q @ k.transpose(-2, -1) / 2.0, dim=-1)
        return x + self.out((scores @ v).transpose(1, 2).reshape(b, t, c))


def by_hand() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 16), AttentionByHand(), AttentionByHand())


def stock_encoder() -> nn.Module:
    """What torch itself calls a transformer encoder; torch.fx cannot follow it."""
    layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True)
    return nn.Sequential(nn.Linear(16, 16), nn.TransformerEncoder(layer, 2))


class SharedLayer(nn.Module):
    """One layer is called twice, and one ReLU, in place, three times."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, 16)
        self.same = nn.Linear(16, 16)
        self.between = nn.Linear(16, 16)
        self.last = nn.Linear(16, 4)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.relu(self.first(x))
        x = self.relu(self.same(x))
        x = self.relu(self.between(x))
        return self.last(torch.relu(self.same(x)))


class TiedHead(nn.Module):
    """A language model whose last layer has the weight of its first."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.middle = nn.Linear(16, 16)
        self.head = nn.Linear(16, 50, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        return self.head(functional.gelu(self.middle(self.embed(tokens))))


class TiedBias(nn.Module):
    """Two layers with one bias, which no description can say."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(16, 16)
        self.other = nn.Linear(16, 16)
        self.other.bias = self.one.bias

    def forward(self, x):
        return self.other(self.one(x))


class Unrolled(nn.Module):
    """A recurrence in Python: as many layers as the sequence is long."""

    def __init__(self) -> None:
        super().__init__()
        self.step = nn.Linear(16, 16)

    def forward(self, x):
        state = x[:, 0]
        for place in range(1, x.shape[1]):
            state = torch.tanh(self.step(state) + x[:, place])
        return state


class OldAlias(nn.Module):
    """What ``+=`` overwrites is read once more under another name."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, 16)
        self.last = nn.Linear(16, 4)

    def forward(self, x):
        x = self.first(x)
        alias = x
        x += 1.0
        return self.last(x * alias)


class DataDependent(nn.Module):
    """Chooses by what the numbers are."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 4)

    def forward(self, x):
        y = self.layer(x)
        if y.sum() > 0:
            return y
        return -y


class Raises(nn.Module):
    """Does not run on what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(7, 4)

    def forward(self, x):
        return self.layer(x)


class Numbers(nn.Module):
    """Returns classes, through which no gradient goes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 4)

    def forward(self, x):
        return self.layer(x).argmax(dim=1)


class Frozen(nn.Module):
    """Nothing in it is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 4).requires_grad_(requires_grad=False)

    def forward(self, x):
        return self.layer(x)


def tokens(minibatch: int = 0) -> torch.Tensor:
    return torch.randint(50, (3, 8), generator=torch.Generator().manual_seed(minibatch))


def rows(minibatch: int = 0) -> torch.Tensor:
    return torch.randn(6, 16, generator=torch.Generator().manual_seed(minibatch))


def sequences(minibatch: int = 0) -> torch.Tensor:
    return torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(minibatch))


def changing_sequences(minibatch: int = 0) -> torch.Tensor:
    return torch.randn(2 + minibatch, 5 + minibatch, 16)


def minkvgg(**sizes: int) -> nn.Module:
    module = model("minkvgg16_bn")
    return module.network(dataclasses.replace(module.SMALL, **sizes))


def clouds(minibatch: int = 0, points: int = 300, more: int = 0):
    module = model("minkvgg16_bn")
    sizes = dataclasses.replace(module.SMALL, clouds=2, points=points + more * minibatch)
    return module.make_input(minibatch, sizes)


DENSE_CASES = {
    "encoder": (Encoder, tokens),
    "by_hand": (by_hand, sequences),
    "stock_encoder": (stock_encoder, sequences),
    "shared_layer": (SharedLayer, rows),
    "tied_head": (TiedHead, tokens),
}
"""Networks without MinkowskiEngine, with their minibatches."""
