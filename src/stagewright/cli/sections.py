"""A command whose help shows its options under headings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from stagewright.cli.option_types import Command


class SectionedCommand(Command):
    """A command with headings in its help.

    Parameters
    ----------
    sections
        Heading to the names of parameters below it. --help stands under the first one, all others
        under the last.
    """

    def __init__(self, *args: Any, sections: Mapping[str, Sequence[str]], **options: Any) -> None:
        super().__init__(*args, **options)
        self._sections = sections

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options section by section."""
        heading_of = {name: title for title, names in self._sections.items() for name in names}
        first, *_, last = self._sections
        lines: dict[str, list[tuple[str, str]]] = {title: [] for title in self._sections}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                rest = first if "--help" in parameter.opts else last
                lines[heading_of.get(parameter.name or "", rest)].append(record)
        for title, records in lines.items():
            with formatter.section(title):
                formatter.write_dl(records)
