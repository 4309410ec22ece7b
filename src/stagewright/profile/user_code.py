"""The user's own code: finding a factory, and calling it.

``MODULE:FACTORY`` names a module that can be imported from the working directory, or a file.
A module that imports its neighbours (``from .layers import Block``) is imported as part of its
folder, whether or not the folder says that it is a package.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from stagewright.model.errors import InputError, NetworkError, printable
from stagewright.profile.network import raised
from stagewright.profile.values import is_data, parts

MADE_UP_PACKAGE = "_stagewright_user_folder"


def find(text: str, what: str) -> Any:
    """Return what ``MODULE:FACTORY`` names.

    Raises
    ------
    InputError
        If the module or the name in it does not exist.
    NetworkError
        If the module raises while it is imported.
    """
    module, colon, name = text.rpartition(":")
    if not colon or not module or not name:
        raise InputError(
            f"the {what} '{printable(text, 60)}' is not MODULE:FACTORY",
            hint="Write, for example, model:build or nets/model.py:build",
        )
    found: Any = _imported(module, what)
    for part in name.split("."):
        if not hasattr(found, part):
            raise InputError(
                f"'{printable(module, 60)}' has nothing that is called '{printable(name, 60)}'",
                hint=_others(found, what),
            )
        found = getattr(found, part)
    return found


def _others(module: Any, what: str) -> str:
    own = [
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__ and callable(value)
    ]
    return f"Name the {what}'s factory; it has {', '.join(own[:8]) or 'none'}"


def _imported(name: str, what: str) -> types.ModuleType:
    path = Path(name)
    if path.suffix == ".py":
        if not path.is_file():
            raise InputError(f"no such file; expected the module of the {what}", source=path)
        folder, module = _package_of(path.resolve())
        name = module
    else:
        folder = Path.cwd()
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        return _import(name, folder)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(f"{missing}."):
            raise InputError(
                f"there is no module '{printable(name, 60)}' for the {what}",
                hint=f"Name a module of {folder} or of an installed package, or a file",
            ) from error
        raise InputError(
            f"'{printable(name, 60)}' needs '{printable(missing, 60)}', which is not installed",
            hint="Install it into the environment of stagewright",
        ) from error
    except Exception as error:
        raise NetworkError(f"importing '{printable(name, 60)}' raises {raised(error)}") from error


def _package_of(file: Path) -> tuple[Path, str]:
    """Return the folder to import a file from, and its name from there."""
    folder, names = file.parent, [file.stem]
    while (folder / "__init__.py").is_file():
        names.insert(0, folder.name)
        folder = folder.parent
    return folder, ".".join(names)


def _import(name: str, folder: Path) -> types.ModuleType:
    """Import a module; if it wants to be part of a package, of one that is its folder."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if "no known parent package" not in str(error) or "." in name:
            raise
    sys.modules.pop(name, None)
    package = types.ModuleType(MADE_UP_PACKAGE)
    package.__path__ = [str(folder)]
    sys.modules[MADE_UP_PACKAGE] = package
    module = importlib.import_module(f"{MADE_UP_PACKAGE}.{name}")
    sys.modules[name] = module  # the input's factory may import it by its plain name
    return module


def make_network(text: str, given: Mapping[str, str]) -> nn.Module:
    """Call the network's factory.

    Raises
    ------
    InputError
        If it does not take these arguments.
    NetworkError
        If it raises or makes something else than a module.
    """
    found = find(text, "network")
    if isinstance(found, nn.Module):
        return found
    made = _called(found, text, literals(given, "--arg"), "--arg")
    if not isinstance(made, nn.Module):
        raise NetworkError(
            f"'{printable(text, 60)}' makes {type(made).__name__}, not a torch.nn.Module"
        )
    return made


def make_input(text: str, given: Mapping[str, str], minibatch: int) -> tuple[Any, dict[str, Any]]:
    """Call the input's factory and return the arguments of the network's forward.

    It is called with the number of the minibatch if it takes a positional argument. A tensor is
    the first argument, a tuple or list are all of them, a dictionary is arguments by name.
    """
    found = find(text, "input")
    named = literals(given, "--input-arg")
    positional = [minibatch] if _takes_number(found, named) else []
    made = _called(found, text, named, "--input-arg", positional)
    if not any(True for _ in parts(made)):
        raise NetworkError(
            f"'{printable(text, 60)}' makes {type(made).__name__} without a tensor",
            hint="Return a tensor, a sparse tensor, or a tuple or dictionary of them",
        )
    if is_data(made):
        return (made,), {}
    if isinstance(made, dict):
        return (), made
    return tuple(made), {}


def _takes_number(factory: Any, named: Mapping[str, Any]) -> bool:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        parameters = list(inspect.signature(factory).parameters.values())
    except (TypeError, ValueError):
        return False
    return bool(parameters) and parameters[0].kind in kinds and parameters[0].name not in named


def _called(
    factory: Any,
    text: str,
    named: Mapping[str, Any],
    option: str,
    positional: list[int] | None = None,
) -> Any:
    if not callable(factory):
        raise InputError(
            f"'{printable(text, 60)}' is {type(factory).__name__}, not a function or class"
        )
    try:
        inspect.signature(factory).bind(*(positional or []), **named)
    except TypeError as error:
        raise InputError(
            f"'{printable(text, 60)}' cannot be called: {error}",
            hint=f"Give arguments with {option} NAME=VALUE",
        ) from None
    except ValueError:
        pass  # a signature that Python cannot tell; the call will
    try:
        return factory(*(positional or []), **named)
    except Exception as error:
        raise NetworkError(f"'{printable(text, 60)}' raises {raised(error)}") from error


def literals(given: Mapping[str, str], option: str) -> dict[str, Any]:
    """Return arguments as Python values; a word is itself.

    >>> literals({"width": "8", "kinds": "[1, 2]", "mode": "fast"}, "--arg")
    {'width': 8, 'kinds': [1, 2], 'mode': 'fast'}
    """
    found = {}
    for name, text in given.items():
        try:
            found[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            if not text.replace("_", "").replace("-", "").replace(".", "").isalnum():
                raise InputError(
                    f"{option} {name}={printable(text, 60)} is not a literal",
                    hint="Write a number, a word, None, True or False, or a list of them",
                ) from None
            found[name] = text
    return found
