"""Checked types for everything that crosses into the program, and one-line messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError

LARGEST = 1e24
"""No time, size or bandwidth is larger: sums and products of them stay finite."""

SMALLEST = 1e-9
"""No bandwidth, memory or ratio is smaller: quotients by them stay finite."""


def _not_tiny(value: float) -> float:
    if value < SMALLEST:
        raise ValueError(f"should be at least {SMALLEST:g}")
    return value


Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Milliseconds = Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False)]
Bytes = Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False)]
Memory = Annotated[float, Field(gt=0, le=LARGEST, allow_inf_nan=False)]
Price = Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False)]
Bandwidth = Annotated[
    float, Field(gt=0, le=LARGEST, allow_inf_nan=False), AfterValidator(_not_tiny)
]
Latency = Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False)]


def first_error(error: ValidationError) -> tuple[str, str]:
    """Return (place, message) of the first thing that is wrong, in one line each."""
    return describe(error.errors(include_url=False, include_context=False)[0])


def describe(first: Mapping[str, Any]) -> tuple[str, str]:
    """Return (place, message) of one of pydantic's errors."""
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return place, "is missing"
    text = first["msg"].removeprefix("Value error, ")
    message = text[:1].lower() + text[1:]
    if first["type"].startswith(("model", "dict")):
        message = "expected a mapping of keys to values"
    return place, f"{message} (found {_shown(first['input'])})"


def _shown(value: object) -> str:
    """Show a plain value; of anything nested only the kind, for it may stand for a lot."""
    if value is None or isinstance(value, str | int | float):
        text = repr(value[:60] if isinstance(value, str) else value)
        return text if len(text) <= 60 else f"{text[:59]}…"
    if not value:
        return repr(value)[:60]
    return {"list": "a list", "dict": "a mapping"}.get(type(value).__name__, "something else")
