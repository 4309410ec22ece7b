"""Reading untrusted files and writing folders whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from stagewright.model.errors import InputError, printable

MAX_FILE_BYTES = 64 * 1024 * 1024


def read_text(path: Path, what: str) -> str:
    """Return the text of a file from outside.

    Raises
    ------
    InputError
        If it is missing, not a file, too large, unreadable or not UTF-8.
    """
    try:
        if not path.is_file():
            found = "a folder" if path.is_dir() else "no such file"
            raise InputError(f"{found}; expected a {what}", source=path)
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(
                f"the file has {path.stat().st_size:,} bytes; "
                f"a {what} has at most {MAX_FILE_BYTES:,}",
                source=path,
            )
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise InputError(
            f"byte {error.start} is not UTF-8 text; expected a {what}", source=path
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"cannot read the {what}: {reason}", source=path) from None


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name that no file can have is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def write_files(folder: Path, files: Mapping[str, str | bytes]) -> list[Path]:
    """Write ``files`` (name to text or bytes) into ``folder``, all of them or none.

    Everything is written to a temporary folder beside the target first, and moved in place
    when it is complete. Files already in the folder under other names stay.

    Raises
    ------
    InputError
        If the folder cannot be made or written, or a name would leave it.
    """
    for name in files:
        if Path(name).name != name or name in {"", ".", ".."} or "\0" in name:
            raise InputError(f"'{printable(name)}' is not a plain file name", source=folder)
    staging: Path | None = None
    try:
        encoded = {
            name: content.encode() if isinstance(content, str) else content
            for name, content in files.items()
        }
        if folder.exists() and not folder.is_dir():
            raise InputError("is a file; expected a folder to write into", source=folder)
        taken = [name for name in files if (folder / name).is_dir()]
        if taken:
            raise InputError(f"'{taken[0]}' is a folder there; expected a file", source=folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        inside = folder if folder.is_dir() else folder.parent
        staging = Path(tempfile.mkdtemp(prefix=".stagewright-", dir=inside))
        for name, content in encoded.items():
            with (staging / name).open("wb") as handle:
                handle.write(content)
                handle.flush()
                os.fsync(handle.fileno())
        _move_into(staging, folder, list(files))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(
            f"cannot write the output: {reason}",
            source=folder,
            hint="Name a folder that you can write to with -o",
        ) from None
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
    return [folder / name for name in files]


def _move_into(staging: Path, folder: Path, names: list[str]) -> None:
    """Move finished files in place; if one move fails, put everything back as it was."""
    fresh = not folder.exists()
    folder.mkdir(exist_ok=True)
    before = staging / "before"
    before.mkdir()
    moved: list[str] = []
    try:
        for name in names:
            if (folder / name).exists():
                os.link(folder / name, before / name)
            (staging / name).replace(folder / name)
            moved.append(name)
    except OSError:
        for name in moved:
            if (before / name).exists():
                os.replace(before / name, folder / name)  # noqa: PTH105 - the rescue path
            else:
                (folder / name).unlink()
        if fresh:
            folder.rmdir()
        raise
