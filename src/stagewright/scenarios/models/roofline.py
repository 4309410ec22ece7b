"""Times of layers on a GPU that was not measured: arithmetic against memory traffic."""

from __future__ import annotations

from dataclasses import dataclass

from stagewright.profile.roofline import Rates, Work, roof_s

FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Roofline:
    """A GPU as two rates and a start-up time (Williams et al., "Roofline", CACM 2009).

    A pass takes the longer of its arithmetic and its memory traffic, and the time to launch
    it. Figures for planning and for tests; a profile measured on the GPU replaces them.

    Attributes
    ----------
    flops_per_s
        Floating-point operations that the GPU sustains.
    bytes_per_s
        Bytes that it moves between its memory and its cores.
    launch_s
        Time to start one pass of one layer.
    """

    flops_per_s: float = 1e13
    bytes_per_s: float = 5e11
    launch_s: float = 2e-5

    def pass_ms(self, flops: float, moved_bytes: float) -> float:
        """Milliseconds of one pass, to the microsecond.

        >>> Roofline(flops_per_s=1e12, bytes_per_s=1e11, launch_s=0).pass_ms(2e9, 1e8)
        2.0
        """
        rates = Rates(self.flops_per_s, self.bytes_per_s)
        seconds = roof_s(Work(flops, moved_bytes), rates)
        return round((seconds + self.launch_s) * 1e3, 3)


TYPICAL_GPU = Roofline()
