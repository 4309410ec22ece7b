"""Every error that Stagewright raises on purpose.

::

    StagewrightError
    ├── InputError            a file, option or request is wrong: where, what, what to do
    ├── DoesNotApply          a planner or cost model cannot answer for this instance
    ├── InfeasibleError       proven: no plan satisfies the rules
    ├── NoPlanFound           a limit was reached before any plan was found
    ├── NetworkError          a user's network cannot be run, or not be taken apart into layers
    └── DisagreementError     two of our own computations contradict each other (a bug)

Libraries raise; only the command line and the service turn errors into messages
and exit codes.
"""

from __future__ import annotations

from pathlib import Path


class StagewrightError(Exception):
    """Base of all errors that Stagewright raises on purpose."""


class InputError(StagewrightError):
    """Something that came from outside is wrong.

    Parameters
    ----------
    message
        What was found and what was expected, one sentence without a full stop.
    source
        The file (or ``"<request>"``) that holds the mistake.
    line
        Line number in ``source``, counted from 1.
    hint
        What to do about it, one sentence without a full stop.
    """

    def __init__(
        self,
        message: str,
        *,
        source: str | Path | None = None,
        line: int | None = None,
        hint: str | None = None,
    ) -> None:
        self.message = message
        self.source = None if source is None else str(source)
        self.line = line
        self.hint = hint
        super().__init__(self._text())

    def _text(self) -> str:
        place = "" if self.source is None else f"{self.source}: "
        if self.source is not None and self.line is not None:
            place = f"{self.source}:{self.line}: "
        hint = "" if self.hint is None else f". {self.hint}"
        return printable(f"{place}{self.message}{hint}")


class DoesNotApply(StagewrightError):
    """A planner or a cost model is not defined for this instance."""


class InfeasibleError(StagewrightError):
    """It is proven that no plan satisfies the rules."""


class NoPlanFound(StagewrightError):
    """A limit was reached before any plan was found; there may still be one."""


class NetworkError(StagewrightError):
    """A user's network cannot be measured.

    Parameters
    ----------
    message
        What the network did, one sentence without a full stop.
    hint
        What to do about it, one sentence without a full stop.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = message
        self.hint = hint
        super().__init__(printable(message if hint is None else f"{message}. {hint}", 700))


class DisagreementError(StagewrightError):
    """Two independent computations of the same figure differ: a bug of ours."""


def printable(text: str, limit: int = 400) -> str:
    r"""Return untrusted ``text`` as one short line without control characters.

    >>> printable("a\nb\x1b[31m")
    'a\\nb\\x1b[31m'
    """
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
