"""How figures are spelled in everything that is printed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from stagewright.model.errors import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stagewright.model.cluster import Cluster
    from stagewright.model.plan import Certificate


def milliseconds(seconds: float) -> str:
    """Seconds as milliseconds with four significant digits.

    >>> milliseconds(0.1527520), milliseconds(0.0053712), milliseconds(0), milliseconds(12.3456)
    ('152.8 ms', '5.371 ms', '0 ms', '12,346 ms')
    """
    return f"{bare_milliseconds(seconds)} ms"


def bare_milliseconds(seconds: float) -> str:
    """Milliseconds without the unit.

    >>> bare_milliseconds(0.1527520), bare_milliseconds(4.2e-6)
    ('152.8', '0.004200')
    """
    value = seconds * 1000
    if value == 0:
        return "0"
    if value >= 1000:
        return f"{value:,.0f}"
    if value < 1e-4:
        return f"{value:.3e}"
    decimals = 3 - math.floor(math.log10(value))
    return f"{value:.{decimals}f}"


def percent(fraction: float) -> str:
    """A fraction as a percentage that never rounds a rest away.

    >>> percent(0.1234), percent(0.000004), percent(0), percent(1e-10)
    ('12.3 %', '0.0004 %', '0 %', 'under 0.0001 %')
    """
    value = fraction * 100
    if value <= 0:
        return "0 %"
    if value < 1e-4:
        return "under 0.0001 %"
    return f"{value:.1f} %" if value >= 0.05 else f"{value:.1g} %"


def gigabytes(n_bytes: float) -> str:
    """Bytes as GB or MB (powers of ten).

    >>> gigabytes(3.21e9), gigabytes(5e6)
    ('3.2 GB', '5 MB')
    """
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:.0f} MB"


def bytes_per_s(value: float) -> str:
    """Bandwidths in the unit that keeps them short.

    >>> bytes_per_s(1e8), bytes_per_s(1.25e9), bytes_per_s(500.0)
    ('100 MB/s', '1.25 GB/s', '500 B/s')
    """
    for unit, size in (("GB/s", 1e9), ("MB/s", 1e6), ("kB/s", 1e3)):
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g} B/s"


def money(price: float) -> str:
    """A price in whatever currency, with two decimals or else three digits.

    >>> money(12.5), money(1234), money(0.00456), money(0)
    ('12.50', '1,234.00', '0.00456', '0')
    """
    return f"{price:,.2f}" if price >= 1 else f"{price:.3g}"


def gpus(cluster: Cluster, replicas: Sequence[int]) -> str:
    """GPUs of a stage, with servers where there are several: ``TitanV×1 + TitanXP×2``."""
    several = len(cluster.servers) > 1
    return " + ".join(
        f"{printable(g.gpu, 40)}×{n}"
        + (f" @{printable(cluster.servers[g.server], 40)}" if several else "")
        for g, n in zip(cluster.groups, replicas, strict=True)
        if n > 0
    )


def certificate_sentence(certificate: Certificate, cost_model: str) -> str:
    """Say in one plain sentence how good the plan is proven to be."""
    wall = f"{certificate.wall_s:.1f} s" if certificate.wall_s >= 0.05 else "under 0.1 s"
    by = f"{certificate.solver}, {wall}"
    if certificate.status == "optimal":
        return (
            f"Proven optimal under cost model '{cost_model}': no plan has a shorter period ({by})."
        )
    if certificate.bound_s is None or certificate.gap is None:
        return (
            f"Not proven: '{certificate.solver}' gives no bound ({wall}); "
            "--planner cpsat says how far it is from the best."
        )
    return (
        f"Proven to be within {percent(certificate.gap)} of the best plan under cost model "
        f"'{cost_model}': none is faster than {milliseconds(certificate.bound_s)} ({by})."
    )
