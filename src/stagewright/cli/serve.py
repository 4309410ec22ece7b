"""``stagewright serve``."""

from __future__ import annotations

from pathlib import Path

import click

from stagewright.cli.options import Command

GIGABYTE = 1e9


@click.command("serve", cls=Command)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port to listen on; 0 takes a free one, which the log names.",
)
@click.option(
    "--database",
    default="sqlite:///stagewright-jobs.sqlite",
    show_default=True,
    metavar="URL",
    help="Where jobs are kept: an SQLAlchemy URL of SQLite or PostgreSQL.",
)
@click.option(
    "--token",
    metavar="TOKEN",
    help="What callers have to present; needed beyond this machine. Better set by "
    "STAGEWRIGHT_SERVE_TOKEN, for other users can read a command line.",
)
@click.option(
    "--token-file", type=click.Path(), metavar="FILE", help="A file that holds the token."
)
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Solves that run at the same time, each in a process of its own.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    help="Solver threads of each solve at most.  [default: the machine's cores / --processes]",
)
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0.1, max=1e7),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="Longest search, whatever was asked for.",
)
@click.option(
    "--memory",
    type=click.FloatRange(min=0.01, max=1e6),
    default=4.0,
    show_default=True,
    metavar="GB",
    help="Memory of one solve.",
)
@click.option(
    "--layers", type=click.IntRange(min=1), default=5000, show_default=True, help="Largest network."
)
@click.option(
    "--gpus", type=click.IntRange(min=1), default=1024, show_default=True, help="Largest cluster."
)
@click.option(
    "--body",
    type=click.FloatRange(min=0.01, max=1024),
    default=16.0,
    show_default=True,
    metavar="MB",
    help="Largest request.",
)
@click.option(
    "--queue",
    type=click.IntRange(min=1),
    default=256,
    show_default=True,
    help="Jobs that may wait; more are refused with 429 until there is room.",
)
@click.option(
    "--keep-days",
    type=click.FloatRange(min=0.001, max=36500),
    default=30.0,
    show_default=True,
    metavar="DAYS",
    help="Ended jobs are deleted after so many days.",
)
def serve_command(
    host: str,
    port: int,
    database: str,
    token: str | None,
    token_file: str | None,
    processes: int,
    threads: int | None,
    time_limit: float,
    memory: float,
    layers: int,
    gpus: int,
    body: float,
    queue: int,
    keep_days: float,
) -> None:
    """Plan on request over HTTP, with a small web page.

    \b
    stagewright serve
    STAGEWRIGHT_SERVE_TOKEN=$(openssl rand -hex 32) stagewright serve --host 0.0.0.0
    """
    from stagewright.model.errors import InputError
    from stagewright.service.config import Config, Limits, own_share

    if token_file is not None:
        token = _read_token(token_file, token)
    limits = Limits(
        time_limit_s=time_limit,
        memory_bytes=memory * GIGABYTE,
        layers=layers,
        gpus=gpus,
        body_bytes=int(body * 1024 * 1024),
        queued=queue,
        workers=processes,
        threads=threads or own_share(processes),
        keep_s=keep_days * 86_400,
    )
    config = Config(host, port, database, token, limits)
    try:
        from stagewright.service.server import serve
    except ModuleNotFoundError as error:
        raise InputError(
            f"the service needs the package '{error.name}', which is not installed",
            hint="Install it with: pip install 'stagewright[serve]'",
        ) from None
    serve(config)


def _read_token(path: str, given: str | None) -> str:
    from stagewright.model.errors import InputError
    from stagewright.model.files import read_text

    if given is not None:
        raise InputError("both --token and --token-file are given; name one of them")
    return read_text(Path(path), "file with a token").strip()
