"""The command line: what a person calls. Modules here import the rest when a command runs."""

from __future__ import annotations


def main() -> None:
    """Run ``stagewright`` and exit with its code."""
    from stagewright.cli.app import run

    raise SystemExit(run())
