"""The process that measures: reads a request, runs the user's code, answers line by line.

``python -P -m stagewright.profile.worker FD``: the request comes on standard input as one line of
JSON; messages go to the file descriptor FD. What the user's code prints goes to standard error.
"""

from __future__ import annotations

import os
import sys
import warnings

import torch

from stagewright.model.errors import InputError, NetworkError
from stagewright.profile.measuring import Measuring
from stagewright.profile.request import Answer, Content, Failure, Message, Request


def main(descriptor: int) -> None:
    """Do what standard input asks for."""
    request = Request.model_validate_json(sys.stdin.readline())
    channel = Channel(descriptor)
    sys.stdout = sys.stderr
    try:
        document = Measuring(request, channel.send).document()
    except InputError as error:
        channel.send(Failure(of="input", message=_placed(error), hint=error.hint))
    except NetworkError as error:
        channel.send(Failure(of="network", message=error.message, hint=error.hint))
    except torch.OutOfMemoryError:
        channel.send(
            Failure(
                of="network",
                message="the memory of the device is not enough for one minibatch",
                hint="Make the minibatch smaller",
            )
        )
    else:
        channel.send(Answer(document=document))


def _placed(error: InputError) -> str:
    return error.message if error.source is None else f"{error.source}: {error.message}"


class Channel:
    """Sends messages, one line each."""

    def __init__(self, descriptor: int) -> None:
        self._stream = os.fdopen(descriptor, "w", encoding="utf-8", buffering=1)

    def send(self, content: Content) -> None:
        """Send one message."""
        self._stream.write(Message(content=content).model_dump_json(by_alias=True) + "\n")
        self._stream.flush()


if __name__ == "__main__":
    warnings.simplefilter("ignore", FutureWarning)
    main(int(sys.argv[1]))
