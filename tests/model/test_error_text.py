"""How errors read: place, fact, hint, on one short printable line."""

from __future__ import annotations

import pytest

from stagewright.model.errors import (
    DisagreementError,
    DoesNotApply,
    InfeasibleError,
    InputError,
    NoPlanFound,
    StagewrightError,
    printable,
)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "it is wrong"),
        ({"source": "f.txt"}, "f.txt: it is wrong"),
        ({"source": "f.txt", "line": 3}, "f.txt:3: it is wrong"),
        ({"line": 3}, "it is wrong"),
        ({"hint": "Do this"}, "it is wrong. Do this"),
        ({"source": "f.txt", "line": 3, "hint": "Do this"}, "f.txt:3: it is wrong. Do this"),
    ],
)
def test_an_input_error_reads_place_fact_hint(options, text):
    assert str(InputError("it is wrong", **options)) == text


def test_an_input_error_keeps_its_parts():
    error = InputError("wrong", source="f.txt", line=3, hint="Do this")
    assert (error.message, error.source, error.line, error.hint) == ("wrong", "f.txt", 3, "Do this")


def test_an_input_error_never_breaks_the_line_nor_moves_the_cursor():
    text = str(InputError("bad\r\n\x1b[2J\x07\u202e", source="a\nb"))
    assert text == "a\\nb: bad\\r\\n\\x1b[2J\\x07\\u202e"


@pytest.mark.parametrize("text", ["plain", "Größe ×2 — 畳", "tab-free 'quotes' \\ back"])
def test_printable_text_stays(text):
    assert printable(text) == text


def test_long_text_is_cut_and_shows_it():
    assert printable("x" * 10, 10) == "x" * 10
    assert printable("x" * 11, 10) == "x" * 9 + "…"


@pytest.mark.parametrize(
    "kind", [InputError, DoesNotApply, InfeasibleError, NoPlanFound, DisagreementError]
)
def test_every_error_raised_on_purpose_can_be_caught_as_one(kind):
    with pytest.raises(StagewrightError, match="why"):
        raise kind("why")
