"""GPUs by their datasheets: what profiles are carried over to, and from.

``docs/profile-predict.md`` names the document behind every figure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from stagewright.model.errors import InputError, printable
from stagewright.profile.roofline import Rates

ACCESS_BYTES = 4
"""What one load/store unit moves in a clock cycle."""


class Precision(StrEnum):
    """Number format of a dense matrix product."""

    FP32 = "fp32"
    TF32 = "tf32"
    FP16 = "fp16"
    BF16 = "bf16"


class Kind(StrEnum):
    """What a device is."""

    GPU = "gpu"
    CPU = "cpu"


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU as its datasheet describes it.

    Attributes
    ----------
    name
        As ``--as`` and server files spell it.
    fp32_flop_per_s
        Peak of the ordinary arithmetic units: 2 x units x boost clock.
    memory_bytes_per_s, memory_bytes
        Bandwidth and size of its memory.
    clock_hz
        Boost clock; 0 where unknown.
    multiprocessors, load_store_units
        Multiprocessors, and load/store units in each; 0 where unknown. Together with the clock
        they bound the traffic with the memory on the chip.
    tf32_flop_per_s, fp16_flop_per_s, bf16_flop_per_s
        Dense peak of the tensor cores with 32-bit accumulation; 0 where there are none.
    nvlink_bytes_per_s, pcie_bytes_per_s
        To other GPUs and to the host, in one direction; 0 where there is none.
    kind
        GPU or CPU.
    """

    name: str
    fp32_flop_per_s: float
    memory_bytes_per_s: float
    memory_bytes: float
    clock_hz: float
    multiprocessors: int = 0
    load_store_units: int = 0
    tf32_flop_per_s: float = 0.0
    fp16_flop_per_s: float = 0.0
    bf16_flop_per_s: float = 0.0
    nvlink_bytes_per_s: float = 0.0
    pcie_bytes_per_s: float = 0.0
    kind: Kind = Kind.GPU

    def flop_per_s(self, precision: Precision = Precision.FP32) -> float:
        """Return the peak at a precision; formats without units of their own run as FP32.

        >>> known_device("TitanXP").flop_per_s(Precision.FP16) / 1e12
        12.15
        """
        special = {
            Precision.FP32: 0.0,
            Precision.TF32: self.tf32_flop_per_s,
            Precision.FP16: self.fp16_flop_per_s,
            Precision.BF16: self.bf16_flop_per_s,
        }
        return max(self.fp32_flop_per_s, special[precision])

    @property
    def on_chip_bytes_per_s(self) -> float:
        """Peak traffic with the memory on the chip; infinite where it is unknown."""
        units = self.multiprocessors * self.load_store_units
        return ACCESS_BYTES * units * self.clock_hz or math.inf

    def rates(self, precision: Precision = Precision.FP32) -> Rates:
        """Return the ceilings of the device's roofline."""
        return Rates(self.flop_per_s(precision), self.memory_bytes_per_s, self.on_chip_bytes_per_s)


DEVICES = (
    Device(
        "TitanXP",
        fp32_flop_per_s=12.15e12,
        memory_bytes_per_s=547.6e9,
        memory_bytes=12e9,
        clock_hz=1582e6,
        multiprocessors=30,
        load_store_units=32,
        pcie_bytes_per_s=15.75e9,
    ),
    Device(
        "TitanV",
        fp32_flop_per_s=14.9e12,
        memory_bytes_per_s=652.8e9,
        memory_bytes=12e9,
        clock_hz=1455e6,
        multiprocessors=80,
        load_store_units=32,
        fp16_flop_per_s=110e12,
        pcie_bytes_per_s=15.75e9,
    ),
    Device(
        "V100",
        fp32_flop_per_s=15.7e12,
        memory_bytes_per_s=900e9,
        memory_bytes=16e9,
        clock_hz=1530e6,
        multiprocessors=80,
        load_store_units=32,
        fp16_flop_per_s=125e12,
        nvlink_bytes_per_s=150e9,
        pcie_bytes_per_s=15.75e9,
    ),
    Device(
        "RTX2080Ti",
        fp32_flop_per_s=13.45e12,
        memory_bytes_per_s=616e9,
        memory_bytes=11e9,
        clock_hz=1545e6,
        multiprocessors=68,
        load_store_units=16,
        fp16_flop_per_s=53.8e12,
        nvlink_bytes_per_s=50e9,
        pcie_bytes_per_s=15.75e9,
    ),
    Device(
        "T4",
        fp32_flop_per_s=8.1e12,
        memory_bytes_per_s=320e9,
        memory_bytes=16e9,
        clock_hz=1590e6,
        multiprocessors=40,
        load_store_units=16,
        fp16_flop_per_s=65e12,
        pcie_bytes_per_s=15.75e9,
    ),
    Device(
        "A100",
        fp32_flop_per_s=19.5e12,
        memory_bytes_per_s=1555e9,
        memory_bytes=40e9,
        clock_hz=1410e6,
        multiprocessors=108,
        load_store_units=32,
        tf32_flop_per_s=156e12,
        fp16_flop_per_s=312e12,
        bf16_flop_per_s=312e12,
        nvlink_bytes_per_s=300e9,
        pcie_bytes_per_s=31.5e9,
    ),
    Device(
        "A100-80GB",
        fp32_flop_per_s=19.5e12,
        memory_bytes_per_s=2039e9,
        memory_bytes=80e9,
        clock_hz=1410e6,
        multiprocessors=108,
        load_store_units=32,
        tf32_flop_per_s=156e12,
        fp16_flop_per_s=312e12,
        bf16_flop_per_s=312e12,
        nvlink_bytes_per_s=300e9,
        pcie_bytes_per_s=31.5e9,
    ),
    Device(
        "H100",
        fp32_flop_per_s=66.9e12,
        memory_bytes_per_s=3352e9,
        memory_bytes=80e9,
        clock_hz=1980e6,
        multiprocessors=132,
        load_store_units=32,
        tf32_flop_per_s=494.7e12,
        fp16_flop_per_s=989.4e12,
        bf16_flop_per_s=989.4e12,
        nvlink_bytes_per_s=450e9,
        pcie_bytes_per_s=63e9,
    ),
)
"""SXM modules where there are several form factors; 16 GB for the V100."""

ALIASES = {
    "RTX": "RTX2080Ti",
    "V100-SXM2-16GB": "V100",
    "V100-SXM2-32GB": "V100",
    "A100-SXM4-40GB": "A100",
    "A100-SXM4-80GB": "A100-80GB",
    "H100 80GB HBM3": "H100",
}
"""The published profiles say no more than ``RTX``; it is taken to be the card of that time. The
others are what drivers call the modules."""

MAKES = ("NVIDIA", "GeForce", "Tesla")


def known_device(name: str, own: Sequence[Device] = ()) -> Device:
    """Return the device that is called ``name``, by the table or by its driver.

    Capitals, spaces and the maker's words in front do not matter.

    Parameters
    ----------
    name
        Such as ``TitanV`` or ``NVIDIA TITAN V``.
    own
        Devices of the user's own; they go before those of the table.

    Raises
    ------
    InputError
        If there is none; the message lists those that there are.

    Examples
    --------
    >>> known_device("Tesla V100-SXM2-16GB").name, known_device("NVIDIA TITAN Xp").name
    ('V100', 'TitanXP')
    """
    named = {_plain(device.name): device for device in (*DEVICES, *own)}
    aliases = {_plain(alias): _plain(full) for alias, full in ALIASES.items()}
    wanted = _plain(name)
    device = named.get(wanted) or named.get(aliases.get(wanted, ""))
    if device is None:
        names = ", ".join(x.name for x in (*own, *DEVICES))
        raise InputError(
            f"'{printable(name, 60)}' is not a known GPU; known are {names}",
            hint="Describe it in a file and name that with --gpu-specs",
        )
    return device


def _plain(name: str) -> str:
    words = [word for word in name.split() if word not in MAKES]
    return "".join(words).casefold()
