"""Checked types for everything that crosses into the program, and one-line messages."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationError

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Bytes = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Memory = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Bandwidth = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def first_error(error: ValidationError) -> tuple[str, str]:
    """Return (place, message) of the first thing that is wrong, in one line each."""
    first = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    found = repr(first["input"])
    found = found if len(found) <= 60 else f"{found[:59]}…"
    if first["type"] == "missing":
        return place, "is missing"
    message = first["msg"][:1].lower() + first["msg"][1:]
    return place, f"{message} (found {found})"
