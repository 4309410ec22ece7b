"""Words and figures for pictures: untrusted text made harmless, short and measurable."""

from __future__ import annotations

import html
import math
import re
import unicodedata

_NAME = re.compile(r"[^(\[{<]*")
_KEYWORDS = re.compile(
    r"\bin_(?:channels|features)=(\d{1,9})\b.{0,80}?\bout_(?:channels|features)=(\d{1,9})\b"
)
_TWO_SIZES = re.compile(r"\(\s*(\d{1,9}),\s*(\d{1,9})\s*[,)]")
_ONE_SIZE = re.compile(r"\(\s*(?:num_features=)?(\d{1,9})\s*[,)]")
_ONE_INDEX = re.compile(r"\(-?\d{1,4}\)")
_MAPS = re.compile(r"Conv|Linear|LSTM|GRU|RNN|Embedding")

_ASCII_PERCENT_OF_EM = (
    "32 41 46 84 64 96 78 28 40 40 50 84 32 37 32 34 64 64 64 64 64 64 64 64 64 64 34 34 84 84 84 "
    "54 100 69 69 70 78 64 58 78 76 30 30 66 56 87 75 79 61 79 70 64 62 74 69 99 69 62 69 40 34 "
    "40 84 50 50 62 64 55 64 62 36 64 64 28 28 58 28 98 64 62 64 64 42 53 40 64 60 82 60 60 53 64 "
    "34 64 84"
)
"""Advance widths of DejaVu Sans, the widest of the usual fonts, from the space to the tilde."""

_WIDTHS_EM = {chr(32 + i): int(x) / 100 for i, x in enumerate(_ASCII_PERCENT_OF_EM.split())} | {
    "→": 0.84,
    "×": 0.84,
    "∞": 0.84,
    "·": 0.32,
    "–": 0.5,
    "µ": 0.64,
}


def clean(text: str, limit: int) -> str:
    r"""Return untrusted ``text`` as one line of at most ``limit`` harmless characters.

    Controls, direction overrides, surrogates and other characters that XML forbids or that
    draw outside their line (combining marks) are left out; white space is a single space.

    >>> clean("a\n\x00\x1b[31m\u202eb\ufffe", 20)
    'a [31mb'
    >>> clean("abcdef", 4)
    'abc…'
    """
    head = unicodedata.normalize("NFC", text[: 4 * limit + 16])
    words = "".join(" " if c.isspace() else c for c in head).split()
    line = "".join(
        c
        for c in " ".join(words)
        if c.isprintable() and unicodedata.category(c) not in {"Mn", "Me"}
    )
    cut_off = len(text) > 4 * limit + 16
    if len(line) <= limit and not cut_off:
        return line
    return f"{line[: limit - 1]}…"


def escape(text: str) -> str:
    """Escape cleaned text for XML, in elements and in quoted attributes."""
    return html.escape(text, quote=True)


def text_width(text: str, size_px: float) -> float:
    """Width of ``text`` in pixels, estimated from above for the usual sans-serif fonts."""
    return size_px * sum(map(_width_em, text))


def _width_em(char: str) -> float:
    return _WIDTHS_EM.get(char, 1.05)


def fit(text: str, size_px: float, width_px: float) -> str:
    """Shorten ``text`` with an ellipsis until it is at most ``width_px`` wide.

    >>> fit("Convolution", 10, 1000), fit("Convolution", 10, 40)
    ('Convolution', 'Conv…')
    """
    if text_width(text, size_px) <= width_px:
        return text
    room = width_px - text_width("…", size_px)
    kept = 0
    for char in text:
        room -= size_px * _width_em(char)
        if room < 0:
            break
        kept += 1
    return f"{text[:kept].rstrip()}…"


def short_name(description: str) -> str:
    """Say in a few words what a layer is; the description is read, never evaluated.

    >>> short_name("MinkowskiConvolution(in_channels=64, out_channels=128, dimension=3)")
    'MinkowskiConvolution 64→128'
    >>> short_name("Conv2d(3, 64, kernel_size=(3, 3))"), short_name("ReLU(inplace)")
    ('Conv2d 3→64', 'ReLU')
    >>> short_name("BatchNorm2d(64, eps=1e-05)"), short_name("__getitem__(1)")
    ('BatchNorm2d 64', '__getitem__(1)')
    """
    text = clean(description, 400)
    match = _NAME.match(text)
    name = match.group().strip() if match else ""
    if not name:
        return fit(text, 1, 20) or "(no name)"
    arguments = text[len(match.group()) :] if match else ""
    if _ONE_INDEX.fullmatch(arguments):
        return f"{name}{arguments}"
    nested = arguments.startswith(("( (", "(("))
    maps = _KEYWORDS.search(arguments) or (
        _TWO_SIZES.match(arguments) if _MAPS.search(name) else None
    )
    if maps and not nested:
        return f"{name} {maps[1]}→{maps[2]}"
    size = _ONE_SIZE.match(arguments) if "Norm" in name else None
    return f"{name} {size[1]}" if size else name


def fit_name(name: str, size_px: float, width_px: float) -> str:
    """Shorten a :func:`short_name`, if need be in the middle so that the sizes stay.

    >>> fit_name("MinkowskiConvolution 64→128", 10, 120)
    'MinkowskiCo… 64→128'
    """
    if text_width(name, size_px) <= width_px:
        return name
    head, space, sizes = name.rpartition(" ")
    tail = text_width(f" {sizes}", size_px)
    if not space or tail > width_px / 2:
        return fit(name, size_px, width_px)
    return f"{fit(head, size_px, width_px - tail)} {sizes}"


def fit_parts(parts: list[str], size_px: float, width_px: float) -> str:
    """Join parts with dots, as many as fit; the first is shortened if even that is too long.

    >>> fit_parts(["Stage 0", "V100×3"], 10, 1000), fit_parts(["Stage 0", "V100×3"], 10, 70)
    ('Stage 0 · V100×3', 'Stage 0 · V…')
    """
    text = parts[0]
    for part in parts[1:]:
        longer = f"{text} · {part}"
        if text_width(longer, size_px) > width_px:
            return fit(longer, size_px, width_px)
        text = longer
    return fit(text, size_px, width_px)


def milliseconds(value_ms: float, digits: int = 4) -> str:
    """Format a time that is given in milliseconds.

    >>> [milliseconds(x) for x in (0, 0.0125, 5.4, 152.83, 123456, float("inf"))]
    ['0 ms', '12.5 µs', '5.4 ms', '152.8 ms', '123.5 s', '∞']
    """
    if not math.isfinite(value_ms):
        return "∞"
    for scale, unit in ((1e-3, "s"), (1.0, "ms"), (1e3, "µs"), (1e6, "ns")):
        if value_ms * scale >= (10 if unit == "s" else 0.1):
            return f"{figure(value_ms * scale, digits)} {unit}"
    return "0 ms"


def size(value_bytes: float, digits: int = 3) -> str:
    """Format a number of bytes in decimal units.

    >>> [size(x) for x in (0, 512, 42723328, 3.2e9, 1e13)]
    ['0 B', '512 B', '42.7 MB', '3.2 GB', '10 TB']
    """
    if not math.isfinite(value_bytes):
        return "∞"
    for scale, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value_bytes >= scale:
            return f"{figure(value_bytes / scale, digits)} {unit}"
    return f"{figure(value_bytes, digits)} B"


def figure(value: float, digits: int) -> str:
    """Round to so many significant digits, never in scientific notation.

    >>> figure(12345.6, 3), figure(0.5, 3), figure(99.96, 3)
    ('12346', '0.5', '100')
    """
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "∞"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
