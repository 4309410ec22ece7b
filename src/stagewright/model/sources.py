"""Where the texts that a description names come from: files on disk, or texts given beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

from stagewright.model.errors import InputError
from stagewright.model.files import is_file, read_text


class Sources(Protocol):
    """Finds a text by the name that a description calls it."""

    @property
    def searched(self) -> str:
        """Where :meth:`find` has looked, in words that follow "does not exist"."""

    def find(self, name: str, beside: Path) -> Path | None:
        """Return what to call the text ``name`` that the file ``beside`` names, if there is one."""

    def text(self, path: Path, what: str) -> str:
        """Return a text that :meth:`find` found; ``what`` it is goes into errors."""


@dataclass(frozen=True)
class Disk:
    """Files, relative to the file that names them or to the working directory."""

    searched: str = "neither beside this file nor in the working directory"

    def find(self, name: str, beside: Path) -> Path | None:
        """Return the first of the two that exists."""
        for candidate in (beside.parent / name, Path(name)):
            if is_file(candidate):
                return candidate
        return None

    def text(self, path: Path, what: str) -> str:
        """Read the file."""
        return read_text(path, what)


DISK: Sources = Disk()


@dataclass(frozen=True)
class Given:
    """Texts by name, such as those in a request: nothing is read from disk.

    A name with folders also finds a text that is given by its last part alone, because an upload
    knows no folders.

    Attributes
    ----------
    texts
        Name to text.
    """

    texts: Mapping[str, str]
    searched: str = "for no profile of that name is given beside it"

    def find(self, name: str, beside: Path) -> Path | None:
        """Return the name itself, or its last part, whichever is given.

        >>> Given({"tv.txt": ""}).find("profiles/tv.txt", Path())
        PosixPath('tv.txt')
        """
        return next((Path(x) for x in (name, PurePosixPath(name).name) if self._knows(x)), None)

    def _knows(self, name: str) -> bool:
        return bool(name) and str(Path(name)) in self._plain

    @cached_property
    def _plain(self) -> dict[str, str]:
        """The texts by their names as paths spell them: ``./tv.txt`` is ``tv.txt``."""
        return {str(Path(name)): text for name, text in self.texts.items()}

    def text(self, path: Path, what: str) -> str:
        """Return the text.

        Raises
        ------
        InputError
            If none is given by that name.
        """
        if str(path) not in self._plain:
            raise InputError(f"no text is given by that name; expected a {what}", source=path)
        return self._plain[str(path)].removeprefix("\ufeff").replace("\r\n", "\n")
