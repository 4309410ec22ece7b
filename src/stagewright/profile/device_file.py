"""GPUs of one's own: ``--gpu-specs FILE``, in YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stagewright.model.boundary import LARGEST, Bandwidth, Memory, first_error
from stagewright.model.errors import InputError
from stagewright.model.files import read_text
from stagewright.model.yaml_text import parse_yaml
from stagewright.profile.devices import Device, Kind

MAX_DEVICES = 1000
Name = Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A GPU's name becomes part of file names."""
Rate = Annotated[float, Field(gt=0, le=LARGEST, allow_inf_nan=False)]
RateOrNone = Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=100_000)]


class _Device(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    fp32_flop_per_s: Rate
    memory_bytes_per_s: Bandwidth
    memory_bytes: Memory
    clock_hz: RateOrNone = 0.0
    multiprocessors: Count = 0
    load_store_units: Count = 0
    tf32_flop_per_s: RateOrNone = 0.0
    fp16_flop_per_s: RateOrNone = 0.0
    bf16_flop_per_s: RateOrNone = 0.0
    nvlink_bytes_per_s: RateOrNone = 0.0
    pcie_bytes_per_s: RateOrNone = 0.0
    kind: Kind = Kind.GPU


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    gpus: Annotated[dict[Name, _Device], Field(min_length=1, max_length=MAX_DEVICES)]


def read_devices(path: Path) -> tuple[Device, ...]:
    """Read the GPUs that a file describes.

    The keys are the attributes of :class:`~stagewright.profile.devices.Device`; the first three
    have to be there::

        gpus:
          MyCard: {fp32_flop_per_s: 9.0e+12, memory_bytes_per_s: 4.5e+11,
                   memory_bytes: 8.0e+9, clock_hz: 1.7e+9}

    Raises
    ------
    InputError
        With the file and the key, if something is missing, unknown or out of range.
    """
    found = parse_yaml(read_text(path, "file of GPUs"), path)
    try:
        file = _File.model_validate(found)
    except ValidationError as error:
        place, message = first_error(error)
        raise InputError(
            f"{place}: {message}" if place else message,
            source=path,
            hint="A GPU reads 'Name: {fp32_flop_per_s: …, memory_bytes_per_s: …, "
            "memory_bytes: …}' under 'gpus:'",
        ) from None
    return tuple(Device(name, **device.model_dump()) for name, device in file.gpus.items())
