"""Layers of MinkowskiEngine."""

from __future__ import annotations

from stagewright.emit.layers import LayerType, Motion, Takes, add_layers

IMPORT = "import MinkowskiEngine as ME"


def _me(
    name: str,
    arguments: str,
    attribute: str,
    motion: Motion = Motion.STAY,
) -> LayerType:
    """One sparse tensor in, one out. Arguments after ``/`` have defaults."""
    required, _, optional = arguments.partition("/")
    return LayerType(
        name,
        f"ME.{name}",
        IMPORT,
        (*required.split(), *optional.split()),
        len(required.split()),
        attribute=attribute,
        takes=Takes.SPARSE,
        motion=motion,
    )


_CONVOLUTION = "in_channels out_channels / kernel_size stride dilation bias has_bias dimension"
_POOL = "kernel_size / stride dilation dimension"
_NORM = "num_features / eps momentum affine track_running_stats"

add_layers(
    _me("MinkowskiConvolution", _CONVOLUTION, "conv", Motion.DOWN),
    _me("MinkowskiChannelwiseConvolution", _CONVOLUTION, "conv", Motion.DOWN),
    _me("MinkowskiConvolutionTranspose", _CONVOLUTION, "conv_transpose", Motion.UP),
    _me("MinkowskiMaxPooling", _POOL, "pool", Motion.DOWN),
    _me("MinkowskiAvgPooling", _POOL, "pool", Motion.DOWN),
    _me("MinkowskiSumPooling", _POOL, "pool", Motion.DOWN),
    _me("MinkowskiPoolingTranspose", _POOL, "unpool", Motion.UP),
    _me("MinkowskiGlobalMaxPooling", "/ mode", "pool", Motion.ORIGIN),
    _me("MinkowskiGlobalAvgPooling", "/ mode", "pool", Motion.ORIGIN),
    _me("MinkowskiGlobalSumPooling", "/ mode", "pool", Motion.ORIGIN),
    _me("MinkowskiBatchNorm", _NORM, "bn"),
    _me("MinkowskiInstanceNorm", "num_features", "norm"),
    _me("MinkowskiLinear", "in_features out_features / bias", "fc"),
    _me("MinkowskiDropout", "/ p inplace", "dropout"),
    _me("MinkowskiReLU", "/ inplace", "relu"),
    _me("MinkowskiReLU6", "/ inplace", "relu"),
    _me("MinkowskiLeakyReLU", "/ negative_slope inplace", "relu"),
    _me("MinkowskiELU", "/ alpha inplace", "elu"),
    _me("MinkowskiSiLU", "/ inplace", "silu"),
    _me("MinkowskiGELU", "/ approximate", "gelu"),
    _me("MinkowskiHardswish", "/ inplace", "hardswish"),
    _me("MinkowskiPReLU", "/ num_parameters init", "prelu"),
    _me("MinkowskiSigmoid", "", "sigmoid"),
    _me("MinkowskiTanh", "", "tanh"),
)
