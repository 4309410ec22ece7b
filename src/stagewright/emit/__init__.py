"""What a plan becomes: stages written out as PyTorch and MinkowskiEngine modules.

From a description to a package, module by module: ``describe`` parses a layer's text,
``layers`` holds the table of known layers (filled by ``torch_layers``, ``minkowski_layers``,
``operators`` and ``tensor_operators``), ``build`` turns a graph with stages into a ``program``,
``ties`` finds layers with the same weights, ``coordinates`` and ``boundaries`` say what crosses
each cut, ``stage_code`` and ``package_code`` write the code, and ``package`` the folder.
``runtime`` holds the files that packages carry with them.

``verify`` proves a package: ``reference`` runs the unsplit network, ``side_by_side`` compares.

Importing this package needs no torch; only verification does.
"""

from stagewright.emit import minkowski_layers, operators, tensor_operators, torch_layers
from stagewright.emit.layers import register_layer

__all__ = ["minkowski_layers", "operators", "register_layer", "tensor_operators", "torch_layers"]
