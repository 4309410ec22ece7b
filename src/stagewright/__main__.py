"""``python -m stagewright``."""

from stagewright.cli import main

main()
