"""Python that a user names on the command line: modules with layers, functions that make input."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from stagewright.model.errors import InputError, printable

layers_option = click.option(
    "--layers",
    "layer_modules",
    multiple=True,
    metavar="MODULE",
    help="Import this module first; it registers layers of your own with "
    "stagewright.emit.register_layer.",
)


def import_user_module(name: str) -> ModuleType:
    """Import a module that the user named, from the working directory too.

    Raises
    ------
    InputError
        If there is none of that name, or it cannot be imported.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except (ImportError, SyntaxError, ValueError, TypeError) as error:
        raise InputError(
            f"cannot import the module '{printable(name, 60)}': {printable(str(error), 120)}",
            hint="Name a module of the working directory or of an installed package",
        ) from error


def load_factory(text: str) -> Callable[[], Any]:
    """Return the function that ``MODULE:FUNCTION`` names.

    Raises
    ------
    InputError
        If it does not exist or cannot be called.
    """
    module, colon, name = text.partition(":")
    found: Callable[[], Any] | None = None
    if colon and module:
        found = getattr(import_user_module(module), name, None)
    if not callable(found):
        raise InputError(
            f"'{printable(text, 60)}' is not a function",
            hint="Write MODULE:FUNCTION, such as my_data:one_minibatch",
        )
    return found
