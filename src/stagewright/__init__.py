"""Plan pipeline-parallel training on GPUs that are not all alike, with proof."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("stagewright")
except PackageNotFoundError:  # a source tree that is not installed
    __version__ = "0+unknown"
