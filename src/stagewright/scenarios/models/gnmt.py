"""A GNMT-like translator: LSTM encoder, attention, LSTM decoder (Wu et al., arXiv:1609.08144).

Layers with several inputs and several outputs, hidden state that starts empty, and an
attention context that every decoder layer reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stagewright.model.graph import LayerGraph
from stagewright.scenarios.models.builder import GraphBuilder
from stagewright.scenarios.models.roofline import FLOAT_BYTES, TYPICAL_GPU, Roofline

if TYPE_CHECKING:
    import torch
    from torch import nn

PADDING = 0
"""The token that fills short sentences."""


@dataclass(frozen=True)
class Sizes:
    """Widths and lengths; as given, those that were measured.

    Attributes
    ----------
    batch
        Sentence pairs in a minibatch.
    source, target
        Tokens of the longest source sentence, and of the target sentences.
    vocabulary, hidden
        Number of tokens, and the width of all layers.
    """

    batch: int = 32
    source: int = 48
    target: int = 47
    vocabulary: int = 32_320
    hidden: int = 1_024


FULL = Sizes()
SMALL = Sizes(batch=2, source=7, target=5, vocabulary=40, hidden=8)


def layer_graph(sizes: Sizes = FULL, roofline: Roofline = TYPICAL_GPU) -> LayerGraph:
    """Return the network as a layer graph; its inputs are source, lengths and target."""
    net = _Translator(sizes, roofline)
    context, lengths = _encoder(net)
    target = net.input("Input2")
    hidden = net.view("hidden", [], [0])
    x = net.embedding(target, sizes.target)
    x, context = net.attention(x, net.item(hidden, 0), context, lengths)
    for layer in (1, 2, 3):
        y = net.dropout(x, sizes.target)
        y = net.concat([y, context])
        y = net.lstm(y, 2 * sizes.hidden, sizes.target, net.item(hidden, layer))
        x = y if layer == 1 else net.sum(y, x, sizes.target)
    net.classifier(x)
    return net.graph("gnmt")


def _encoder(net: _Translator) -> tuple[str, str]:
    """Add the encoder and return its output and the lengths of the sentences."""
    sizes = net.sizes
    source, lengths = net.input("Input0"), net.input("Input1")
    x = net.bidirectional(net.embedding(source, sizes.source), lengths)
    x = net.lstm(net.dropout(x, sizes.source, width=2), 2 * sizes.hidden, sizes.source)
    for _ in range(2):
        y = net.lstm(net.dropout(x, sizes.source), sizes.hidden, sizes.source)
        x = net.sum(y, x, sizes.source)
    return x, lengths


class _Translator:
    """The layers of the translator, as profiles spell them."""

    def __init__(self, sizes: Sizes, roofline: Roofline) -> None:
        self.sizes = sizes
        self._builder = GraphBuilder(roofline)

    def graph(self, name: str) -> LayerGraph:
        return self._builder.graph(name)

    def input(self, text: str) -> str:
        return self._builder.input(text, 0)

    def view(self, text: str, operands: Sequence[str], outputs_bytes: Sequence[float]) -> str:
        return self._builder.view(text, operands, outputs_bytes)

    def item(self, hidden: str, index: int) -> str:
        """One layer's share of the hidden state, which is empty at the start."""
        return self.view(f"__getitem__({index})", [hidden], [0])

    def embedding(self, tokens: str, length: int) -> str:
        size, width = self.sizes.vocabulary, self.sizes.hidden
        text = f"Embedding({size}, {width}, padding_idx={PADDING})"
        return self._builder.add(text, [tokens], [self._bytes(length)], parameters=size * width)

    def dropout(self, x: str, length: int, width: int = 1) -> str:
        return self._builder.add("Dropout(p=0.2)", [x], [width * self._bytes(length)])

    def sum(self, x: str, y: str, length: int) -> str:
        return self._builder.add("Add", [x, y], [self._bytes(length)])

    def concat(self, parts: Sequence[str]) -> str:
        return self._builder.add("Concat(2)", parts, [2 * self._bytes(self.sizes.target)])

    def lstm(self, x: str, features: int, length: int, hidden: str | None = None) -> str:
        """A layer of LSTM; its sequence goes on, its last state is nobody's."""
        output, state = self._bytes(length), self._bytes(1)
        node = self._builder.add(
            f"LSTM({features}, {self.sizes.hidden})",
            [x] if hidden is None else [x, hidden],
            [output, state, state],
            parameters=self._lstm_weights(features),
            flops=self._flops(length, self._lstm_weights(features)),
        )
        sequence = self.view("__getitem__(0)", [node], [output])
        self.view("__getitem__(1)", [node], [2 * state])
        return sequence

    def bidirectional(self, x: str, lengths: str) -> str:
        """The first layer of the encoder, which reads sentences both ways."""
        width, length = self.sizes.hidden, self.sizes.source
        layer = f"LSTM({width}, {width})"
        weights = 2 * self._lstm_weights(width)
        return self._builder.add(
            f"EmuBidirLSTM(  (bidir): LSTM({width}, {width}, bidirectional=True)"
            f"  (layer1): {layer}  (layer2): {layer})",
            [x, lengths],
            [2 * self._bytes(length)],
            parameters=weights,
            flops=self._flops(length, weights),
        )

    def attention(self, x: str, hidden: str, context: str, lengths: str) -> tuple[str, str]:
        """The first layer of the decoder; returns its output and the attention context."""
        sizes, width = self.sizes, self.sizes.hidden
        linear = f"Linear(in_features={width}, out_features={width}, bias=False)"
        weights = self._lstm_weights(width) + 2 * width**2 + width
        output, state = self._bytes(sizes.target), self._bytes(1)
        scores = FLOAT_BYTES * sizes.batch * sizes.target * sizes.source
        node = self._builder.add(
            f"RecurrentAttention(  (rnn): LSTM({width}, {width})  (attn): BahdanauAttention("
            f"    (linear_q): {linear}    (linear_k): {linear}    (dropout): Dropout(p=0)  )"
            "  (dropout): Dropout(p=0))",
            [x, hidden, context, lengths],
            [output, state, state, output, scores],
            parameters=weights,
            flops=self._flops(sizes.target, weights * 2),
        )
        first = self.view("__getitem__(0)", [node], [output])
        self.view("__getitem__(1)", [node], [2 * state])
        attended = self.view("__getitem__(2)", [node], [output])
        self.view("__getitem__(3)", [node], [scores])
        return first, attended

    def classifier(self, x: str) -> str:
        sizes = self.sizes
        text = f"Linear(in_features={sizes.hidden}, out_features={sizes.vocabulary}, bias=True)"
        weights = sizes.vocabulary * (sizes.hidden + 1)
        return self._builder.add(
            f"Classifier(  (classifier): {text})",
            [x],
            [FLOAT_BYTES * sizes.batch * sizes.target * sizes.vocabulary],
            parameters=weights,
            flops=self._flops(sizes.target, weights),
        )

    def _lstm_weights(self, features: int) -> int:
        width = self.sizes.hidden
        return 4 * width * (features + width + 2)

    def _flops(self, length: int, weights: int) -> float:
        return 2.0 * length * self.sizes.batch * weights

    def _bytes(self, length: int) -> int:
        return FLOAT_BYTES * length * self.sizes.batch * self.sizes.hidden


def network(sizes: Sizes = FULL) -> nn.Module:
    """Return the network with fresh weights, as one writes it by hand."""
    from stagewright.scenarios.models.networks.translation import Translator  # noqa: PLC0415

    return Translator(sizes)


def make_input(seed: int, sizes: Sizes = SMALL) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return source tokens (source, batch), their lengths (batch,), target tokens.

    Sentences are sorted, longest first, as packed sequences want them, and words are as
    frequent as Zipf's law has it.
    """
    import torch  # noqa: PLC0415

    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, sizes.source + 1, (sizes.batch,), generator=generator)
    lengths[0] = sizes.source
    lengths = lengths.sort(descending=True).values
    source = _tokens(generator, sizes.source, sizes)
    source[torch.arange(sizes.source)[:, None] >= lengths] = PADDING
    return source, lengths, _tokens(generator, sizes.target, sizes)


def make_target(seed: int, sizes: Sizes = SMALL) -> torch.Tensor:
    """Return the word after each target token, shape (target, batch)."""
    import torch  # noqa: PLC0415

    _, _, target = make_input(seed, sizes)
    return torch.cat([target[1:], torch.full_like(target[:1], PADDING)])


def _tokens(generator: torch.Generator, length: int, sizes: Sizes) -> torch.Tensor:
    import torch  # noqa: PLC0415

    frequency = 1.0 / torch.arange(1, sizes.vocabulary)
    drawn = torch.multinomial(
        frequency, length * sizes.batch, replacement=True, generator=generator
    )
    return 1 + drawn.view(length, sizes.batch)
