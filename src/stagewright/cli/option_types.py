"""The command class of all commands, and the types of their options."""

from __future__ import annotations

import math
from typing import Any

import click

LARGEST = 1e24
MAX_GPUS = 10_000


class Command(click.Command):
    """A command that takes option names with underscores too, as the published tools spell them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read ``--use_memory_constraint=x`` as ``--use-memory-constraint=x``."""
        plain: list[str] = []
        for place, word in enumerate(args):
            if word == "--":
                plain += args[place:]
                break
            name, equals, value = word.partition("=")
            plain.append(name.replace("_", "-") + equals + value if word[:2] == "--" else word)
        try:
            return super().parse_args(ctx, plain)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # so that the message can name the command
            raise


class Real(click.FloatRange):
    """A finite number in a range."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read the number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"'{value}' is not a finite number", param, ctx)
        return number


class Numbers(click.ParamType[tuple[float, ...]]):
    """Numbers above zero, separated by commas."""

    def __init__(self, name: str, *, whole: bool = False) -> None:
        self.name = name
        self._whole = whole

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Turn ``4,2`` into (4, 2)."""
        if isinstance(value, tuple):
            return value
        found = []
        for part in str(value).split(","):
            try:
                number = float(part)
            except ValueError:
                number = math.nan
            good = 0 < number <= (MAX_GPUS if self._whole else LARGEST)
            if not good or (self._whole and number != int(number)):
                kind = (
                    f"a whole number from 1 to {MAX_GPUS:,}" if self._whole else "a number above 0"
                )
                self.fail(f"'{part}' is not {kind}", param, ctx)
            found.append(number)
        return tuple(found)


class Placed(click.ParamType[tuple[str, str]]):
    """``NODE=WHERE``: layers and a place."""

    name = "NODE=WHERE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Split at the last ``=``, for descriptions have some of their own."""
        if isinstance(value, tuple):
            return value
        node, _, place = str(value).rpartition("=")
        if not node.strip() or not place.strip():
            self.fail(f"'{value}' is not NODE=WHERE, such as node5=TitanV", param, ctx)
        return node.strip(), place.strip()


class Words(click.ParamType[tuple[str, ...]]):
    """Words separated by commas."""

    name = "A,B,…"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Turn ``a, b`` into (a, b)."""
        if isinstance(value, tuple):
            return value
        words = tuple(word.strip() for word in str(value).split(",") if word.strip())
        if not words:
            self.fail("it names nothing", param, ctx)
        return words
