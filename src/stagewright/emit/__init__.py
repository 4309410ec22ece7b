"""What a plan becomes: stages written out as PyTorch and MinkowskiEngine modules.

``describe`` parses a layer's text, ``layers`` holds the table of known layers, ``program`` turns
a graph with stages into steps, ``boundaries`` says what crosses each cut, ``writer`` writes the
code and ``verify`` proves that it computes what the unsplit network computes.
"""

from stagewright.emit import minkowski_layers, operators, torch_layers
from stagewright.emit.layers import register_layer

__all__ = ["minkowski_layers", "operators", "register_layer", "torch_layers"]
