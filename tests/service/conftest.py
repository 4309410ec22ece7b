"""One live server for all tests that do not harm it."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator

import pytest
import structlog
from live_server import LiveServer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server with one worker and small limits."""
    folder = tmp_path_factory.mktemp("service")
    options = ("--threads", "1", "--layers", "200", "--gpus", "64", "--body", "1")
    running = LiveServer(folder, options).start()
    yield running
    assert running.end() == 0
    assert not [line for line in running.log if line["level"] in {"error", "critical"}]


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """Undo what `serve` does to logging and signals when it is run in this process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    term = signal.getsignal(signal.SIGTERM)
    yield
    root.handlers, root.level = handlers, level
    signal.signal(signal.SIGTERM, term)
    structlog.reset_defaults()
