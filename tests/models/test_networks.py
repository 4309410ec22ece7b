"""The layer graphs compute what the networks written by hand compute."""

from __future__ import annotations

import dataclasses

import pytest

from stagewright.scenarios.models import MODELS, SPARSE, model

torch = pytest.importorskip("torch")

from stagewright.emit.build import build_program  # noqa: E402
from stagewright.emit.reference import Reference  # noqa: E402


@pytest.fixture(params=MODELS)
def module(request):
    if request.param in SPARSE:
        pytest.importorskip("MinkowskiEngine")
    return model(request.param)


def from_graph(module):
    """The network that the layer graph says."""
    graph = module.layer_graph(module.SMALL)
    return Reference(build_program(graph, {x.id: 0 for x in graph.layers}, graph.name))


def numbers(value):
    """Dense numbers of an output: a tensor, a sparse tensor or several of them."""
    if isinstance(value, tuple):
        return [x for part in value for x in numbers(part)]
    return [value.C, value.F] if hasattr(value, "C") else [value]


def forward_and_backward(network, inputs):
    """Outputs and gradients, with the same dropout whenever it is asked."""
    torch.manual_seed(3)
    outputs = numbers(network(*inputs))
    loss = sum((x * torch.linspace(-1, 1, x.numel()).view_as(x)).sum() for x in outputs)
    loss.backward()
    return outputs, [x.grad for x in network.parameters()]


def test_weights_are_as_many_as_the_graph_says(module):
    weights = sum(x.numel() for x in module.network(module.SMALL).parameters())
    assert 4 * weights == module.layer_graph(module.SMALL).parameter_bytes


@pytest.mark.slow
def test_full_network_has_the_weights_of_the_full_graph(module):
    with torch.device("meta"):
        weights = sum(x.numel() for x in module.network().parameters())
    assert 4 * weights == module.layer_graph().parameter_bytes


def test_graph_computes_what_the_network_computes(module):
    inputs = module.make_input(0)
    handmade, graphed = module.network(module.SMALL), from_graph(module)
    for ours, theirs in zip(graphed.parameters(), handmade.parameters(), strict=True):
        assert ours.shape == theirs.shape
        ours.data.copy_(theirs.data)
    expected, expected_gradients = forward_and_backward(handmade, inputs)
    found, gradients = forward_and_backward(graphed, inputs)
    for theirs, ours in zip(expected, found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    for theirs, ours in zip(expected_gradients, gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    for theirs, ours in zip(handmade.buffers(), graphed.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_network_learns(module):
    """A few steps on one minibatch lower the loss: input, target and output fit together."""
    fewer = {"points": 400} if hasattr(module.SMALL, "points") else {}
    sizes = dataclasses.replace(module.SMALL, **fewer)
    inputs, target = module.make_input(1, sizes), module.make_target(1, sizes)
    torch.manual_seed(0)
    network = module.network(sizes)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        logits = numbers(network(*inputs))[-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, -2), target.flatten())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
