"""TOML from outside."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from stagewright.model.errors import InputError

MOST_DOTS = 300
"""In one line of TOML: the time that tomllib takes for ``a.a.a…`` grows with their square."""


def parse_toml(text: str, path: Path) -> Any:
    """Return what a TOML document holds.

    Raises
    ------
    InputError
        With the line, if it is not valid TOML or would take long to read.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        if line.count(".") > MOST_DOTS:
            raise InputError(
                f"more than {MOST_DOTS} dots in one line",
                source=path,
                line=number,
                hint="Break the list into several lines",
            )
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what = str(error)
        place = re.search(r" \(at line (\d+), column \d+\)$", what)
        raise InputError(
            f"not valid TOML: {what if place is None else what[: place.start()]}",
            source=path,
            line=None if place is None else int(place[1]),
        ) from None
    except (RecursionError, ValueError) as error:
        what = "nested too deeply" if isinstance(error, RecursionError) else "a number is too long"
        raise InputError(f"not valid TOML: {what}", source=path) from None
