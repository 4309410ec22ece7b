"""Layers of torch.nn, and the modules of the sequence models that profiles name."""

from __future__ import annotations

from stagewright.emit.layers import LayerType, Takes, add_layers

_IMPORT = "from torch import nn"


def _nn(
    name: str,
    arguments: str,
    attribute: str,
    *,
    saves_output: bool = False,
    sparse_twin: str = "",
) -> LayerType:
    """One tensor in, one tensor out. Arguments after ``/`` have defaults."""
    required, _, optional = arguments.partition("/")
    return LayerType(
        name,
        f"nn.{name}",
        _IMPORT,
        (*required.split(), *optional.split()),
        len(required.split()),
        attribute=attribute,
        takes=Takes.EITHER if sparse_twin else Takes.DENSE,
        saves_output=saves_output,
        sparse_twin=sparse_twin,
    )


_CONVOLUTION = (
    "in_channels out_channels kernel_size / stride padding dilation groups bias padding_mode"
)
_TRANSPOSED = (
    "in_channels out_channels kernel_size / "
    "stride padding output_padding groups bias dilation padding_mode"
)
_NORM = "num_features / eps momentum affine track_running_stats bias"
_MAX_POOL = "kernel_size / stride padding dilation return_indices ceil_mode"
_AVG_POOL = "kernel_size / stride padding ceil_mode count_include_pad divisor_override"
_LSTM = "input_size hidden_size num_layers bias batch_first dropout bidirectional proj_size"
_ATTENTION = "embed_dim num_heads dropout bias add_bias_kv add_zero_attn kdim vdim batch_first"

add_layers(
    *(_nn(f"Conv{d}d", _CONVOLUTION, "conv") for d in (1, 2, 3)),
    *(_nn(f"ConvTranspose{d}d", _TRANSPOSED, "conv_transpose") for d in (1, 2, 3)),
    *(_nn(f"BatchNorm{d}d", _NORM, "bn") for d in (1, 2, 3)),
    *(_nn(f"InstanceNorm{d}d", _NORM, "norm") for d in (1, 2, 3)),
    *(_nn(f"MaxPool{d}d", _MAX_POOL, "pool") for d in (1, 2, 3)),
    *(_nn(f"AvgPool{d}d", _AVG_POOL, "pool") for d in (1, 2, 3)),
    *(_nn(f"AdaptiveAvgPool{d}d", "output_size", "pool") for d in (1, 2, 3)),
    *(_nn(f"AdaptiveMaxPool{d}d", "output_size", "pool") for d in (1, 2, 3)),
    *(_nn(f"ZeroPad{d}d", "padding", "pad") for d in (1, 2, 3)),
    *(_nn(f"ReflectionPad{d}d", "padding", "pad") for d in (1, 2, 3)),
    _nn("Linear", "in_features out_features / bias", "fc"),
    _nn("Embedding", "num_embeddings embedding_dim / padding_idx", "embedding"),
    _nn("LayerNorm", "normalized_shape / eps elementwise_affine bias", "norm"),
    _nn("RMSNorm", "normalized_shape / eps elementwise_affine", "norm"),
    _nn("GroupNorm", "num_groups num_channels / eps affine", "norm"),
    _nn("LocalResponseNorm", "size / alpha beta k", "norm"),
    _nn("Flatten", "/ start_dim end_dim", "flatten", saves_output=True),
    _nn("Identity", "", "identity", saves_output=True),
    _nn("Upsample", "/ size scale_factor mode align_corners", "upsample"),
    _nn("PixelShuffle", "upscale_factor", "shuffle", saves_output=True),
    _nn("Softmax", "/ dim", "softmax", saves_output=True),
    _nn("LogSoftmax", "/ dim", "softmax", saves_output=True),
    _nn("ReLU", "/ inplace", "relu", saves_output=True, sparse_twin="MinkowskiReLU"),
    _nn("ReLU6", "/ inplace", "relu", saves_output=True, sparse_twin="MinkowskiReLU6"),
    _nn(
        "LeakyReLU",
        "/ negative_slope inplace",
        "relu",
        saves_output=True,
        sparse_twin="MinkowskiLeakyReLU",
    ),
    _nn("ELU", "/ alpha inplace", "elu", saves_output=True, sparse_twin="MinkowskiELU"),
    _nn("SiLU", "/ inplace", "silu", saves_output=True, sparse_twin="MinkowskiSiLU"),
    _nn("GELU", "/ approximate", "gelu", sparse_twin="MinkowskiGELU"),
    _nn("Hardswish", "/ inplace", "hardswish", sparse_twin="MinkowskiHardswish"),
    _nn("PReLU", "/ num_parameters init", "prelu", sparse_twin="MinkowskiPReLU"),
    _nn("Sigmoid", "", "sigmoid", saves_output=True, sparse_twin="MinkowskiSigmoid"),
    _nn("Tanh", "", "tanh", saves_output=True, sparse_twin="MinkowskiTanh"),
    _nn("Dropout", "/ p inplace", "dropout", saves_output=True, sparse_twin="MinkowskiDropout"),
    _nn("Dropout2d", "/ p inplace", "dropout", saves_output=True),
    LayerType(
        "MultiheadAttention",
        "Attention",
        "from .attention import Attention",
        tuple(_ATTENTION.split()),
        2,
        attribute="attention",
        operands=(3, 3),
        saves_output=False,
    ),
    LayerType(
        "LSTM",
        "nn.LSTM",
        _IMPORT,
        tuple(_LSTM.split()),
        2,
        attribute="lstm",
        operands=(1, 2),
        outputs=("output", "state"),
        states=(1,),
    ),
    LayerType(
        "EmuBidirLSTM",
        "BidirectionalLSTM",
        "from .sequence import BidirectionalLSTM",
        attribute="encoder",
        operands=(2, 2),
        parts=("bidir",),
    ),
    LayerType(
        "RecurrentAttention",
        "RecurrentAttention",
        "from .sequence import RecurrentAttention",
        attribute="attention",
        operands=(4, 4),
        outputs=("output", "state", "context", "scores"),
        states=(1,),
        parts=("rnn", "attn", "dropout"),
    ),
    LayerType(
        "Classifier",
        "nn.Linear",
        _IMPORT,
        attribute="classifier",
        parts=("classifier",),
        saves_output=False,
    ),
)
