"""The command line: what a person calls. Modules here import the rest when a command runs."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run ``stagewright`` and exit with its code."""
    from stagewright.cli.app import EXIT_INTERRUPTED, run

    code = run()
    if code == EXIT_INTERRUPTED:
        # A solver thread may still run, and ending it in an orderly way can abort the process.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise SystemExit(code)
