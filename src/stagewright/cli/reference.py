"""``docs/cli.md``, generated from the commands themselves.

``python -m stagewright.cli.reference docs/cli.md`` writes it; with ``--check`` it fails if the
file is not what the code says.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from stagewright.cli.app import stagewright

INTRODUCTION = """\
# Command reference

Generated from the code by `make docs`; `make check` compares.

Data goes to stdout, everything else to stderr; progress appears only on a terminal. Option names
may be spelled with underscores, as in the published tools. Every option can be set by an
environment variable: `STAGEWRIGHT_PLAN_TIME_LIMIT=300` is `stagewright plan --time-limit 300`.

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | failure, or a failed check |
| 2 | bad usage or input |
| 3 | proven infeasible |
| 4 | limit reached with no plan |
| 130 | interrupted |

During a solve the first Ctrl-C ends the search and keeps the best plan so far, with its gap.
"""


def reference() -> str:
    """Return the whole page."""
    return "\n".join([INTRODUCTION, *_sections()])


def _sections() -> Iterator[str]:
    for name, command in sorted(stagewright.commands.items()):
        with click.Context(
            command, info_name=f"stagewright {name}", help_option_names=["-h", "--help"]
        ) as context:
            usage = " ".join(command.collect_usage_pieces(context))
            yield f"## stagewright {name}\n"
            yield f"```\nstagewright {name} {usage}\n```\n"
            yield _prose(inspect.cleandoc(command.help or ""))
            yield "| option | meaning |\n| --- | --- |"
            yield from _rows(command, context)
            yield ""


def _prose(text: str) -> str:
    """Turn click's ``\\b`` blocks into code blocks."""
    parts = []
    for block in text.split("\n\n"):
        lines = block.splitlines()
        if lines and lines[0] == "\b":
            parts.append("\n".join(["```", *lines[1:], "```"]))
        else:
            parts.append(" ".join(lines))
    return "\n\n".join(parts) + "\n"


def _rows(command: click.Command, context: click.Context) -> Iterator[str]:
    """One row per option, put together here so that it does not depend on click's version."""
    for option in command.get_params(context):
        if not isinstance(option, click.Option) or option.hidden:
            continue
        names = ", ".join([*option.opts, *option.secondary_opts])
        value = "" if option.is_flag else f" {_value(option)}"
        text = option.help or ""
        if option.show_default:
            text += f" [default: {option.default}]"
        yield f"| `{names}{value}` | {text} |".replace("  ", " ")


def _value(option: click.Option) -> str:
    if isinstance(option.type, click.Choice):
        return "{" + ",".join(str(choice) for choice in option.type.choices) + "}"
    return option.metavar or option.type.name.upper()


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Compare instead of writing.")
def main(path: Path, check: bool) -> None:
    """Write the command reference to PATH."""
    text = reference()
    if not check:
        path.write_text(text, encoding="utf-8")
    elif not path.is_file() or path.read_text(encoding="utf-8") != text:
        raise click.ClickException(f"{path} is not what the code says; run 'make docs'")


if __name__ == "__main__":
    main()
