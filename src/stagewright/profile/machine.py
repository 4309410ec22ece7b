"""The machine that measures: its name, its memory, and the versions of what runs on it."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path

import torch

from stagewright.model.errors import InputError
from stagewright.model.profile_document import Device


def find_device(text: str) -> torch.device:
    """Return the device that ``cpu``, ``cuda`` or ``cuda:N`` names.

    Raises
    ------
    InputError
        If there is no such device here.
    """
    try:
        device = torch.device(text)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in {"cpu", "cuda"}:
        raise InputError(f"'{text}' is not a device; expected cpu, cuda or cuda:N")
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise InputError(
                "there is no GPU here that torch can use", hint="Measure on the CPU: --device cpu"
            )
        index = torch.cuda.current_device() if device.index is None else device.index
        if index >= torch.cuda.device_count():
            raise InputError(f"there is no {text}; torch sees {torch.cuda.device_count()} GPUs")
        device = torch.device("cuda", index)
        torch.cuda.set_device(device)
    return device


def describe_device(device: torch.device) -> Device:
    """Return the name and the memory of a device."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        memory, name = float(properties.total_memory), str(properties.name)
    else:
        memory = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        name = _cpu_name()
    return Device(
        kind="cuda" if device.type == "cuda" else "cpu",
        name=name,
        threads=torch.get_num_threads(),
        memory_bytes=memory,
    )


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Return the versions of Python, Stagewright, torch and MinkowskiEngine."""
    found = {
        "python": platform.python_version(),
        "stagewright": metadata.version("stagewright"),
        "torch": str(torch.__version__),
    }
    engine = sys.modules.get("MinkowskiEngine")
    if engine is not None:
        found["MinkowskiEngine"] = str(engine.__version__)
    if torch.version.cuda is not None:
        found["cuda"] = str(torch.version.cuda)
    return found
