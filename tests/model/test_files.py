"""Reading untrusted files, and writing folders whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest

from builders import error_text
from stagewright.model import files
from stagewright.model.errors import InputError
from stagewright.model.files import read_text, write_files

# --- reading --------------------------------------------------------------------------------


def test_text_comes_without_byte_order_mark_and_windows_line_ends(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffü\r\nb\r\n".encode())
    assert read_text(path, "profile") == "ü\nb\n"


def test_an_empty_file_is_empty_text(tmp_path):
    path = tmp_path / "a.txt"
    path.touch()
    assert read_text(path, "profile") == ""


def test_a_missing_file_says_what_was_expected(tmp_path):
    path = tmp_path / "a.txt"
    assert error_text(lambda: read_text(path, "profile")) == (
        f"{path}: no such file; expected a profile"
    )


def test_a_folder_is_no_file(tmp_path):
    assert error_text(lambda: read_text(tmp_path, "profile")) == (
        f"{tmp_path}: a folder; expected a profile"
    )


def test_a_pipe_is_not_waited_for(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert error_text(lambda: read_text(path, "profile")).startswith(f"{path}: ")


def test_bytes_that_are_no_text_are_placed(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"abc\xff")
    assert error_text(lambda: read_text(path, "profile")) == (
        f"{path}: byte 3 is not UTF-8 text; expected a profile"
    )


def test_a_file_over_the_limit_is_not_read(tmp_path):
    path = tmp_path / "a.txt"
    with path.open("wb") as handle:
        handle.truncate(files.MAX_FILE_BYTES + 1)  # sparse: takes no room
    assert error_text(lambda: read_text(path, "profile")) == (
        f"{path}: the file has 67,108,865 bytes; a profile has at most 67,108,864"
    )


def test_a_file_at_the_limit_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 3)
    path = tmp_path / "a.txt"
    path.write_text("abc")
    assert read_text(path, "profile") == "abc"


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b"], ids=["too long", "with a NUL"])
def test_a_name_that_no_file_can_have_is_an_input_error(tmp_path, name):
    with pytest.raises(InputError):
        read_text(tmp_path / name, "profile")


def test_a_file_that_cannot_be_read_says_why(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.touch()

    def refuse(self):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert error_text(lambda: read_text(path, "profile")) == (
        f"{path}: cannot read the profile: Permission denied"
    )


# --- writing --------------------------------------------------------------------------------

TWO = {"a.txt": "new a\n", "b.txt": "new b\n"}


def contents(folder: Path) -> dict[str, str]:
    """Every file in a folder, hidden ones too."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.iterdir())}


def test_files_are_written_and_named(tmp_path):
    assert write_files(tmp_path / "out", TWO) == [tmp_path / "out/a.txt", tmp_path / "out/b.txt"]
    assert contents(tmp_path / "out") == TWO


def test_folders_above_are_made(tmp_path):
    write_files(tmp_path / "p/q/out", TWO)
    assert contents(tmp_path / "p/q/out") == TWO


def test_nothing_else_is_left_behind(tmp_path):
    write_files(tmp_path / "out", TWO)
    write_files(tmp_path / "out", TWO)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert contents(tmp_path / "out") == TWO


def test_old_files_are_replaced_and_others_stay(tmp_path):
    (tmp_path / "a.txt").write_text("old a")
    (tmp_path / "mine.txt").write_text("mine")
    write_files(tmp_path, TWO)
    assert contents(tmp_path) == {**TWO, "mine.txt": "mine"}


def test_text_is_written_as_utf8_with_plain_line_ends(tmp_path):
    write_files(tmp_path, {"a.txt": "ü\nb\n"})
    assert (tmp_path / "a.txt").read_bytes() == b"\xc3\xbc\nb\n"


def test_a_link_in_the_folder_is_replaced_not_followed(tmp_path):
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.txt").symlink_to(victim)
    write_files(tmp_path / "out", TWO)
    assert victim.read_text() == "mine"
    assert contents(tmp_path / "out") == TWO


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../a", "a/b", "/etc/a", "a/", "./a", "a/../b", "sub/", "//"]
)
def test_a_name_with_path_parts_is_refused_before_anything_is_written(tmp_path, name):
    text = error_text(lambda: write_files(tmp_path / "out", {"fine.txt": "x", name: "x"}))
    assert text == f"{tmp_path}/out: '{name}' is not a plain file name"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [("a\0b", "x"), ("x" * 300, "x"), ("a.txt", "half \ud800 a pair")],
    ids=["NUL in the name", "name too long", "text that UTF-8 cannot hold"],
)
def test_what_no_file_can_hold_is_an_input_error_and_leaves_nothing(tmp_path, name, text):
    with pytest.raises(InputError):
        write_files(tmp_path / "out", {"fine.txt": "x", name: text})
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_folder_to_write_into(tmp_path):
    path = tmp_path / "out"
    path.write_text("mine")
    assert error_text(lambda: write_files(path, TWO)) == (
        f"{path}: is a file; expected a folder to write into"
    )
    assert path.read_text() == "mine"


def test_a_folder_under_a_file_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "out"
    text = error_text(lambda: write_files(folder, TWO))
    assert text.startswith(f"{folder}: cannot write the output: ")
    assert text.endswith("Name a folder that you can write to with -o")


def test_a_folder_in_a_files_place_is_refused_and_nothing_written(tmp_path):
    (tmp_path / "b.txt").mkdir()
    assert error_text(lambda: write_files(tmp_path, TWO)) == (
        f"{tmp_path}: 'b.txt' is a folder there; expected a file"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["b.txt"]


def test_a_folder_that_cannot_be_written_says_so(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    assert error_text(lambda: write_files(tmp_path, TWO)) == (
        f"{tmp_path}: cannot write the output: Permission denied. "
        "Name a folder that you can write to with -o"
    )


def failing_the_second_time(original):
    """Wrap a function so that its second call says that the disk is full."""
    calls = []

    def wrapper(*args, **kwargs):
        calls.append(args)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(*args, **kwargs)

    return wrapper


def test_a_full_disk_while_writing_leaves_the_folder_as_it_was(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("old a")
    monkeypatch.setattr(os, "fsync", failing_the_second_time(os.fsync))
    assert "No space left on device" in error_text(lambda: write_files(tmp_path, TWO))
    assert contents(tmp_path) == {"a.txt": "old a"}


def test_a_full_disk_while_writing_makes_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", failing_the_second_time(os.fsync))
    with pytest.raises(InputError):
        write_files(tmp_path / "out", TWO)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_while_moving_leaves_the_folder_as_it_was(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("old a")
    (tmp_path / "b.txt").write_text("old b")
    monkeypatch.setattr(Path, "replace", failing_the_second_time(Path.replace))
    with pytest.raises(InputError):
        write_files(tmp_path, TWO)
    assert contents(tmp_path) == {"a.txt": "old a", "b.txt": "old b"}


def test_a_failure_while_moving_makes_no_half_filled_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "replace", failing_the_second_time(Path.replace))
    with pytest.raises(InputError):
        write_files(tmp_path / "out", TWO)
    assert not (tmp_path / "out").exists() or contents(tmp_path / "out") == {}
