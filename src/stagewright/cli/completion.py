"""``stagewright completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from stagewright.cli.options import Command

SHELLS = ("bash", "zsh", "fish")


@click.command("completion", cls=Command)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    stagewright completion bash > ~/.local/share/bash-completion/completions/stagewright
    stagewright completion zsh  > ~/.zfunc/_stagewright
    stagewright completion fish > ~/.config/fish/completions/stagewright.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.ClickException(f"no completion for '{shell}'")
    root = ctx.find_root()
    click.echo(kind(root.command, {}, "stagewright", "_STAGEWRIGHT_COMPLETE").source())
