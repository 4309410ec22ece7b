"""Networks to plan and to test on, each as a layer graph with input that fits it.

Every module has ``Sizes`` (with ``FULL``, as published, and ``SMALL``, for a CPU and a
second), ``layer_graph(sizes)``, ``network(sizes)`` as one writes it by hand,
``make_input(seed, sizes)`` for the graph's inputs in their order, and
``make_target(seed, sizes)`` for the loss. Graphs need neither torch nor MinkowskiEngine;
networks and input do.

>>> model("vgg16").layer_graph().parameter_bytes / 4
138357544.0
"""

from __future__ import annotations

import importlib
from types import ModuleType

from stagewright.model.errors import InputError

SPARSE = ("minkvgg16_bn", "minkunet", "minkresnet")
"""Networks on point clouds, which need MinkowskiEngine to run."""

DENSE = ("vgg16", "resnet50", "inception_v3", "gnmt")
"""Networks of torch alone."""

MODELS = SPARSE + DENSE


def model(name: str) -> ModuleType:
    """Return the module of one network.

    Raises
    ------
    InputError
        If there is no network of that name.
    """
    if name not in MODELS:
        raise InputError(f"no model '{name}'", hint=f"Take one of {', '.join(MODELS)}")
    return importlib.import_module(f"{__name__}.{name}")
