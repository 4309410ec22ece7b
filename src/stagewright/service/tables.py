"""The two tables of the service, and how its database is opened."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from stagewright.model.errors import InputError

BACKENDS = ("sqlite", "postgresql")
BUSY_S = 30
"""How long a connection to SQLite waits for another one to finish writing."""


class State(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


METADATA = sql.MetaData()

JOBS = sql.Table(
    "jobs",
    METADATA,
    sql.Column("number", sql.Integer, primary_key=True, autoincrement=True),
    sql.Column("id", sql.String(32), nullable=False, unique=True),
    sql.Column("kind", sql.String(16), nullable=False),
    sql.Column("state", sql.String(16), nullable=False, index=True),
    sql.Column("version", sql.Integer, nullable=False, default=1),
    sql.Column("attempts", sql.Integer, nullable=False, default=0),
    sql.Column("cancel_asked", sql.Boolean, nullable=False, default=False),
    sql.Column("created_at", sql.Double, nullable=False),
    sql.Column("started_at", sql.Double),
    sql.Column("finished_at", sql.Double, index=True),
    sql.Column("name", sql.Text, nullable=False),
    sql.Column("planner", sql.String(64), nullable=False),
    sql.Column("layers", sql.Integer, nullable=False),
    sql.Column("gpus", sql.Integer, nullable=False),
    sql.Column("time_limit_s", sql.Double, nullable=False),
    sql.Column("notes", sql.JSON, nullable=False),
    sql.Column("status", sql.String(16)),
    sql.Column("period_s", sql.Double),
    sql.Column("bound_s", sql.Double),
    sql.Column("wall_s", sql.Double),
    sql.Column("second", sql.Text),
    sql.Column("has_plan", sql.Boolean, nullable=False, default=False),
    sql.Column("error", sql.JSON(none_as_null=True)),
    sql.Column("idempotency_key", sql.String(200), unique=True),
    sql.Column("digest", sql.String(64), nullable=False),
    sql.Column("task", sql.Text, nullable=False),
    sql.Column("incumbent", sql.Text),
    sql.Column("document", sql.Text),
    sqlite_autoincrement=True,
)

PROGRESS = sql.Table(
    "progress",
    METADATA,
    sql.Column("number", sql.Integer, primary_key=True, autoincrement=True),
    sql.Column("job", sql.String(32), nullable=False, index=True),
    sql.Column("attempt", sql.Integer, nullable=False),
    sql.Column("wall_s", sql.Double, nullable=False),
    sql.Column("period_s", sql.Double),
    sql.Column("bound_s", sql.Double),
    sqlite_autoincrement=True,
)

_LONG = {"task", "incumbent", "document", "idempotency_key", "digest"}
COLUMNS = tuple(column for column in JOBS.c if column.name not in _LONG)
"""All of a job but its long texts, which only some answers need."""


def open_engine(url: str) -> sql.Engine:
    """Open a database.

    Raises
    ------
    InputError
        If the URL is wrong, its driver is missing, or the database does not answer.
    """
    try:
        parsed = _checked(sql.make_url(url))
        is_sqlite = parsed.get_backend_name() == "sqlite"
        options: dict[str, Any] = {"connect_args": {"timeout": BUSY_S}} if is_sqlite else {}
        engine = sql.create_engine(parsed, pool_pre_ping=not is_sqlite, **options)
        if is_sqlite:
            sql.event.listen(engine, "connect", _prepare_sqlite)
        with engine.connect():
            return engine
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise InputError(
            f"the database URL cannot be used: {error}",
            hint="For example sqlite:///jobs.sqlite or postgresql+psycopg://user@host/name",
        ) from None
    except SQLAlchemyError as error:
        reason = getattr(error, "orig", None) or error
        raise InputError(f"the database cannot be opened: {reason}") from None


def _checked(url: sql.URL) -> sql.URL:
    """Refuse databases that would lose jobs, or that this service does not know how to hold."""
    backend = url.get_backend_name()
    if backend not in BACKENDS or url.database in {None, "", ":memory:"}:
        raise ArgumentError(f"'{backend}' does not keep jobs; expected a file or a server")
    return url


def _prepare_sqlite(connection: Any, _: Any) -> None:
    """Let readers go on while somebody writes; a commit is on disk before it returns."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()
