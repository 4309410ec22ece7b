"""The networks as one writes them by hand, in torch and MinkowskiEngine.

They share no code with the layer graphs beside them, and compute the same: parameters come in
the order of the graph's layers.
"""
