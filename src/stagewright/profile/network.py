"""Running the user's network as a whole, and what can be wrong with it."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from stagewright.model.errors import NetworkError
from stagewright.profile.values import features, parts


def run_network(model: nn.Module, inputs: Any) -> list[Any]:
    """Run forward and return the tensors of the output.

    Raises
    ------
    NetworkError
        If the network raises, gives no tensor, or nothing takes a gradient.
    """
    args, kwargs = inputs
    try:
        result = model(*args, **kwargs)
    except Exception as error:
        raise NetworkError(
            f"the network raises {raised(error)}",
            hint="Run it on this input yourself: model(*input)",
        ) from error
    found = [value for _, value in parts(result)]
    if not found:
        raise NetworkError(f"the network returns {type(result).__name__}, not a tensor")
    if not any(features(x).requires_grad for x in found):
        trained = any(x.requires_grad for x in model.parameters())
        why = (
            "its output does not depend on its weights in a way that can be differentiated"
            if trained
            else "it has no weights that take a gradient"
        )
        raise NetworkError(
            f"the network takes no gradient: {why}",
            hint="Training is profiled; return logits, and do not freeze everything",
        )
    return found


def output_gradients(outputs: Sequence[Any]) -> list[torch.Tensor | None]:
    """Return a gradient for each output, fixed noise as large as a mean over it would give."""
    generator = torch.Generator().manual_seed(0)
    found: list[torch.Tensor | None] = []
    for output in outputs:
        rows = features(output)
        if not rows.requires_grad:
            found.append(None)
            continue
        noise = torch.randn(rows.shape[-1:], generator=generator).to(rows) / max(1, rows.numel())
        found.append(noise.expand_as(rows).contiguous())
    return found


def backward(outputs: Sequence[Any], given: Sequence[torch.Tensor | None]) -> None:
    """Run backward from the outputs that take a gradient."""
    pairs = [(features(x), g) for x, g in zip(outputs, given, strict=True) if g is not None]
    torch.autograd.backward([x for x, _ in pairs], [g for _, g in pairs])


def gradients(
    model: nn.Module, outputs: Sequence[Any], given: Sequence[torch.Tensor | None]
) -> list[torch.Tensor | None]:
    """Return the gradient of every weight, and leave none behind."""
    model.zero_grad(set_to_none=True)
    try:
        backward(outputs, given)
    except Exception as error:
        raise NetworkError(
            f"the network's backward pass raises {raised(error)}",
            hint="Run it yourself: model(*input).sum().backward()",
        ) from error
    found = [None if x.grad is None else x.grad.detach().clone() for x in model.parameters()]
    model.zero_grad(set_to_none=True)
    return found


@contextmanager
def quiet_dropout(model: nn.Module) -> Iterator[None]:
    """Switch dropout off while this lasts: it draws by row, and sparse rows have no fixed order."""
    dropped = [
        x
        for x in model.modules()
        if isinstance(x, nn.modules.dropout._DropoutNd) and x.training  # noqa: SLF001
    ]
    for module in dropped:
        module.eval()
    try:
        yield
    finally:
        for module in dropped:
            module.train()


def raised(error: BaseException) -> str:
    """Say what was raised and where in the user's code, in one line."""
    text = " ".join(str(error).split())
    frames = traceback.extract_tb(error.__traceback__)
    users = [
        x
        for x in frames
        if "/torch/" not in x.filename
        and "/stagewright/profile/" not in x.filename.replace("\\", "/")
    ]
    place = f" ({users[-1].filename}:{users[-1].lineno})" if users else ""
    return f"{type(error).__name__}: {text[:300]}{place}"
