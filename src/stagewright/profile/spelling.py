"""Layers as text: the descriptions that written packages are made from.

Torch prints most layers so that they can be made again; where it leaves something out, and for
MinkowskiEngine's layers, the text is put together here, as the published profiles have it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

from torch import nn

from stagewright.profile.leaves import LAYERS, is_known_composite, is_of_minkowski

Text = Callable[[Any], str]


class NotSpelled(Exception):
    """No description says what this layer does; the message is what it does beyond."""


def module_text(module: nn.Module) -> str:
    """Return the description of a layer.

    Raises
    ------
    NotSpelled
        If it does something that descriptions cannot say.
    """
    kind = type(module)
    if is_of_minkowski(module):
        return _minkowski(module)
    if is_known_composite(module):
        return _COMPOSITES[kind.__name__](module)
    if not kind.__module__.startswith("torch.nn."):
        return own_text(module)
    if kind.__name__ not in LAYERS:
        return own_text(module)
    if kind.__name__ in _TORCH:
        return _TORCH[kind.__name__](module)
    _refuse(bool(getattr(module, "return_indices", False)), "gives indices too")
    text = " ".join(repr(module).split())
    # Newer releases of torch print it; older ones, and published readers, do not know it.
    return text.replace(", bias=True", "") if "BatchNorm" in kind.__name__ else text


def own_text(module: nn.Module) -> str:
    """Return ``Class(argument=value)`` with the constructor's arguments that the module keeps.

    >>> own_text(nn.Hardtanh(-2.0))
    'Hardtanh(min_val=-2.0, max_val=1.0, inplace=False)'
    """
    items = []
    for name in list(inspect.signature(type(module).__init__).parameters)[1:]:
        value = getattr(module, name, None)
        if isinstance(value, (bool, int, float)):
            items.append(f"{name}={value!r}")
    return f"{type(module).__name__}({', '.join(items)})"


def _refuse(condition: bool, what: str) -> None:
    if condition:
        raise NotSpelled(what)


def _average_pool(module: Any) -> str:
    text = repr(module)[:-1]
    if module.ceil_mode:
        text += ", ceil_mode=True"
    if not module.count_include_pad:
        text += ", count_include_pad=False"
    if getattr(module, "divisor_override", None):
        text += f", divisor_override={module.divisor_override}"
    return text + ")"


def _embedding(module: nn.Embedding) -> str:
    _refuse(module.max_norm is not None, "renormalises its rows")
    _refuse(module.scale_grad_by_freq or module.sparse, "has gradients of another kind")
    padding = "" if module.padding_idx is None else f", padding_idx={module.padding_idx}"
    return f"Embedding({module.num_embeddings}, {module.embedding_dim}{padding})"


def _attention(module: nn.MultiheadAttention) -> str:
    parts = [f"{module.embed_dim}, {module.num_heads}"]
    if module.dropout:
        parts.append(f"dropout={module.dropout!r}")
    if module.in_proj_bias is None:
        parts.append("bias=False")
    if module.bias_k is not None:
        parts.append("add_bias_kv=True")
    if module.add_zero_attn:
        parts.append("add_zero_attn=True")
    parts += [
        f"{key}={value}"
        for key, value in (("kdim", module.kdim), ("vdim", module.vdim))
        if value != module.embed_dim
    ]
    if module.batch_first:
        parts.append("batch_first=True")
    return f"MultiheadAttention({', '.join(parts)})"


def _layer_norm(module: nn.LayerNorm) -> str:
    bias = "" if module.bias is not None or not module.elementwise_affine else ", bias=False"
    shape = ", ".join(map(str, module.normalized_shape))
    return (
        f"LayerNorm([{shape}], eps={module.eps}, "
        f"elementwise_affine={module.elementwise_affine}{bias})"
    )


def _rms_norm(module: Any) -> str:
    shape = ", ".join(map(str, module.normalized_shape))
    eps = "" if module.eps is None else f", eps={module.eps}"
    return f"RMSNorm([{shape}]{eps}, elementwise_affine={module.elementwise_affine})"


_TORCH: dict[str, Text] = {
    "AvgPool1d": _average_pool,
    "AvgPool2d": _average_pool,
    "AvgPool3d": _average_pool,
    "Embedding": _embedding,
    "MultiheadAttention": _attention,
    "LayerNorm": _layer_norm,
    "RMSNorm": _rms_norm,
}


def _bidirectional(module: Any) -> str:
    inputs, width = module.lstm.input_size, module.lstm.hidden_size
    layer = f"LSTM({inputs}, {width})"
    return (
        f"EmuBidirLSTM(  (bidir): LSTM({inputs}, {width}, bidirectional=True)"
        f"  (layer1): {layer}  (layer2): {layer})"
    )


def _recurrent_attention(module: Any) -> str:
    def linear(layer: nn.Linear) -> str:
        widths = f"in_features={layer.in_features}, out_features={layer.out_features}"
        return f"Linear({widths}, bias=False)"

    return (
        f"RecurrentAttention(  (rnn): LSTM({module.rnn.input_size}, {module.rnn.hidden_size})"
        f"  (attn): BahdanauAttention(    (linear_q): {linear(module.query)}"
        f"    (linear_k): {linear(module.key)}    (dropout): Dropout(p=0)  )"
        f"  (dropout): Dropout(p={module.dropout.p}))"
    )


_COMPOSITES: dict[str, Text] = {
    "BidirectionalLSTM": _bidirectional,
    "RecurrentAttention": _recurrent_attention,
}


def _minkowski(module: Any) -> str:
    """Return the description of a layer of MinkowskiEngine."""
    name = type(module).__name__
    generator = getattr(module, "kernel_generator", None)
    if generator is not None:
        return f"{name}({_kernel(module, generator)})"
    if hasattr(module, "pooling_mode"):
        return f"{name}(mode=PoolingMode.{module.pooling_mode.name})"
    inner = getattr(module, "bn", None) or getattr(module, "module", None)
    inner = inner or getattr(module, "linear", None)
    if name == "MinkowskiDropout" and inner is not None:
        return repr(inner)
    if name == "MinkowskiInstanceNorm":
        return f"{name}({module.num_features})"
    if inner is None:
        return own_text(module)
    # Features are never overwritten: another layer may read them through their coordinates.
    arguments = re.sub(r"(, )?inplace=(True|False)", "", repr(inner).partition("(")[2])
    if name == "MinkowskiBatchNorm":
        arguments = arguments.replace(", bias=True", "")
    return f"{name}({arguments}"


def _kernel(module: Any, generator: Any) -> str:
    """Return the arguments of a convolution or a pooling."""
    _refuse(generator.region_type.name != "HYPER_CUBE", "has a kernel that is not a cube")
    _refuse(bool(getattr(generator, "expand_coordinates", False)), "expands its coordinates")
    parts = []
    if hasattr(module, "in_channels"):
        parts.append(f"in_channels={module.in_channels}")
        if hasattr(module, "out_channels"):
            parts.append(f"out_channels={module.out_channels}")
    parts += [
        f"{key}={[int(x) for x in value]}"
        for key, value in (
            ("kernel_size", generator.kernel_size),
            ("stride", generator.kernel_stride),
            ("dilation", generator.kernel_dilation),
        )
    ]
    if hasattr(module, "in_channels"):
        parts.append(f"bias={True if getattr(module, 'bias', None) is not None else None}")
    parts.append(f"dimension={generator.dimension}")
    return ", ".join(parts)
