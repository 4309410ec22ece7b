"""Scenarios that come with the package: sweep files that say what must come out."""

from __future__ import annotations

from pathlib import Path

from stagewright.model.errors import InputError

FOLDER = Path(__file__).parent / "library"


def scenario_names() -> tuple[str, ...]:
    """All names, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def scenario_file(name: str) -> Path:
    """Return the file of one scenario.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    if name not in scenario_names():
        raise InputError(
            f"there is no scenario '{name}'; expected {', '.join(scenario_names())}",
            hint="stagewright sweep --list describes them",
        )
    return FOLDER / f"{name}.toml"
