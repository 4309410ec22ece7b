"""Running the application under uvicorn."""

from __future__ import annotations

import signal
import socket
from types import FrameType

import structlog
import uvicorn
from fastapi import FastAPI

from stagewright.model.errors import InputError
from stagewright.service.app import create_app
from stagewright.service.config import Config
from stagewright.service.hold import holding
from stagewright.service.observe import log_as_json
from stagewright.service.store import Store

GRACE_S = 5
"""How long requests in flight may take to end once the server is told to."""


class _Server(uvicorn.Server):
    """Ends streams of events when it is told to end, for they would go on for ever."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Wake all streams, which then end, and begin to shut down."""
        app = self.config.app
        if isinstance(app, FastAPI):
            app.state.service.changes.close()
        super().handle_exit(sig, frame)


def serve(config: Config) -> None:
    """Serve until SIGTERM or SIGINT; jobs that run then are queued again.

    Raises
    ------
    InputError
        If the address or the database cannot be used.
    """
    log_as_json()
    # uvicorn raises the signal once more when it is done, for whoever else waits for it.
    signal.signal(signal.SIGTERM, lambda *_: None)
    store = Store(config.database)
    with holding(store.engine):
        app = create_app(config, store)
        listening = _listen(config)
        host, port = listening.getsockname()[:2]
        structlog.get_logger("stagewright").info(
            "listening",
            url=f"http://{f'[{host}]' if ':' in host else host}:{port}",
            token_needed=config.token is not None,
        )
        _Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=GRACE_S,
                server_header=False,
                proxy_headers=False,
            )
        ).run(sockets=[listening])
        store.close()


def _listen(config: Config) -> socket.socket:
    """Bind before anything else starts, so that a taken port is one clear error."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # With the protocol named, asyncio turns Nagle's algorithm off; else answers wait 40 ms.
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(
            f"cannot listen on {config.host}:{config.port}: {reason}",
            hint="Name another address with --host and --port",
        ) from None
    return listening
