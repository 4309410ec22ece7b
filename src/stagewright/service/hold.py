"""One server per database: a second one would take the first one's running jobs for lost.

The operating system, or PostgreSQL, gives the hold back the moment a server dies.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sql

from stagewright.model.errors import InputError

ADVISORY_KEY = 0x7374_6167_6577
"""Of PostgreSQL's advisory lock; any number that nobody else uses."""


@contextmanager
def holding(engine: sql.Engine) -> Iterator[None]:
    """Hold a database until the end of the block.

    Raises
    ------
    InputError
        If another server holds it.
    """
    if engine.url.get_backend_name() == "sqlite":
        with _holding_file(Path(f"{engine.url.database}.lock")):
            yield
        return
    with engine.connect() as connection:
        query = sql.select(sql.func.pg_try_advisory_lock(ADVISORY_KEY))
        if not connection.execute(query).scalar_one():
            raise _held(engine)
        connection.commit()
        yield


@contextmanager
def _holding_file(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                "another 'stagewright serve' uses this database",
                source=path.with_suffix(""),
                hint="End it, or name another database with --database",
            ) from None
        yield


def _held(engine: sql.Engine) -> InputError:
    return InputError(
        f"another 'stagewright serve' uses the database {engine.url.render_as_string()}",
        hint="End it, or name another database with --database",
    )
