"""The command group, and how errors become one line and an exit code.

Exit codes: 0 done, 1 failure or failed check, 2 bad usage or input, 3 proven infeasible,
4 limit reached with no plan, 130 interrupted.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

import click

from stagewright import __version__
from stagewright.cli.bench import bench_command
from stagewright.cli.compare import compare_command
from stagewright.cli.completion import completion_command
from stagewright.cli.emit import emit_command
from stagewright.cli.formulate import formulate_command
from stagewright.cli.plan import plan_command
from stagewright.cli.profile import profile_command
from stagewright.cli.report import report_command
from stagewright.cli.serve import serve_command
from stagewright.cli.simulate import simulate_command
from stagewright.cli.sweep import sweep_command
from stagewright.cli.verify import verify_command
from stagewright.cli.versions import versions_command
from stagewright.model.errors import (
    DoesNotApply,
    InfeasibleError,
    InputError,
    NoPlanFound,
    StagewrightError,
    printable,
)

EXIT_FAILURE = 1
EXIT_INPUT = 2
EXIT_INFEASIBLE = 3
EXIT_NO_PLAN = 4
EXIT_INTERRUPTED = 130

_EXIT_CODES: tuple[tuple[type[StagewrightError], int], ...] = (
    (InputError, EXIT_INPUT),
    (DoesNotApply, EXIT_INPUT),
    (InfeasibleError, EXIT_INFEASIBLE),
    (NoPlanFound, EXIT_NO_PLAN),
    (StagewrightError, EXIT_FAILURE),
)


@click.group(
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "STAGEWRIGHT",
        "max_content_width": 100,
    },
    epilog="Exit codes: 0 done, 1 failure or failed check, 2 bad usage or input, 3 proven "
    "infeasible, 4 limit reached with no plan, 130 interrupted. Every option can be set by an "
    "environment variable, e.g. STAGEWRIGHT_PLAN_TIME_LIMIT.",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def stagewright() -> None:
    """Plan pipeline-parallel training on GPUs that are not all alike, with proof."""


for _command in (
    plan_command,
    compare_command,
    sweep_command,
    bench_command,
    formulate_command,
    report_command,
    emit_command,
    verify_command,
    profile_command,
    serve_command,
    simulate_command,
    versions_command,
    completion_command,
):
    stagewright.add_command(_command)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; errors are one line on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        outcome = stagewright.main(
            args=None if arguments is None else list(arguments),
            prog_name="stagewright",
            standalone_mode=False,
        )
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        # Nobody reads any more (a closed pipe), or the output cannot be written (a full disk).
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if not isinstance(error, BrokenPipeError):
            click.echo(f"stagewright: error: cannot write: {error.strerror}", err=True)
        return EXIT_FAILURE
    except (click.ClickException, click.Abort, KeyboardInterrupt, StagewrightError) as error:
        message, code = _explain(error)
        click.echo(f"stagewright: error: {printable(message, 1000)}", err=True)
        for note in getattr(error, "__notes__", ()):
            click.echo(note, err=True)
        return code
    return outcome if isinstance(outcome, int) else 0


def _explain(error: BaseException) -> tuple[str, int]:
    """Return the message and the exit code of an error."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return "a command is missing (see 'stagewright --help')", EXIT_INPUT
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "stagewright"
        text = " ".join(error.format_message().split())
        return f"{text} (see '{path} --help')", EXIT_INPUT
    if isinstance(error, StagewrightError):
        code = next(code for kind, code in _EXIT_CODES if isinstance(error, kind))
        return str(error), code
    return "interrupted", EXIT_INTERRUPTED
