"""What one process asks the measuring one to do, and what it hears back."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from stagewright.model.profile_document import ProfileDocument
from stagewright.profile.link_document import MeasuredLink

Precision = Literal["as-made", "float32", "float64", "float16", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("as-made", "float32", "float64", "float16", "bfloat16")

Positive = Annotated[int, Field(ge=1, le=100_000)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Request(_Message):
    """One measurement.

    Attributes
    ----------
    model, input
        ``MODULE:FACTORY``; MODULE may be a file.
    arguments, input_arguments
        Literals to call the factories with, as text.
    device
        ``cpu``, ``cuda`` or ``cuda:N``.
    threads
        Threads of torch, or None for as many as it takes by itself.
    shared_core
        Whether the thread shares its core for good, so that real time is what counts.
    repeats, warm_up, minibatches
        How often.
    precision
        What to change the weights and inputs to.
    layers
        Classes of the user's own that count as one layer.
    seed
        Of weights, inputs and dropout.
    """

    model: str
    input: str
    arguments: dict[str, str] = {}
    input_arguments: dict[str, str] = {}
    device: str = "cpu"
    threads: Positive | None = None
    shared_core: bool = False
    repeats: Positive = 10
    warm_up: Annotated[int, Field(ge=0, le=100_000)] = 3
    minibatches: Positive = 1
    precision: Precision = "as-made"
    layers: tuple[str, ...] = ()
    seed: int = 0


class Note(_Message):
    """Something that the user should know."""

    kind: Literal["note"] = "note"
    text: str


class Progress(_Message):
    """How far it is."""

    kind: Literal["progress"] = "progress"
    what: str
    done: int
    total: int


class Failure(_Message):
    """It could not be done; ``of`` tells whose fault it is."""

    kind: Literal["failure"] = "failure"
    of: Literal["input", "network"]
    message: str
    hint: str | None = None


class Answer(_Message):
    """It is done."""

    kind: Literal["answer"] = "answer"
    document: ProfileDocument


class LinksAnswer(_Message):
    """The links are measured."""

    kind: Literal["links"] = "links"
    links: tuple[MeasuredLink, ...]


Content = Note | Progress | Failure | Answer | LinksAnswer


class Message(BaseModel):
    """One line from the measuring process."""

    content: Annotated[Content, Field(discriminator="kind")]
