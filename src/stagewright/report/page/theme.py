"""Colours of the page, in light and dark, as one style sheet of custom properties.

Everything on the page is coloured through these names, so that the same picture is drawn once
and follows the reader's system; paper is always white.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stagewright.report.marks import LEGIBLE, PALETTE, contrast, mix

GREY = "#8c959f"
GRAPHIC = 3.0
"""Least contrast of the parts of pictures, by the Web Content Accessibility Guidelines."""


@dataclass(frozen=True)
class Ground:
    """A page's own colours, without the stages'."""

    paper: str
    card: str
    ink: str
    muted: str
    line: str
    rule: str
    link: str
    good: str
    warn: str
    box_share: float
    panel_share: float


LIGHT = Ground(
    paper="#ffffff",
    card="#f6f8fa",
    ink="#1b1f24",
    muted="#57606a",
    line="#6e7781",
    rule="#d0d7de",
    link="#0a58a8",
    good="#136b34",
    warn="#a40e26",
    box_share=0.2,
    panel_share=0.07,
)
DARK = Ground(
    paper="#11151a",
    card="#1a2027",
    ink="#e8edf2",
    muted="#adb7c2",
    line="#8b96a2",
    rule="#36404b",
    link="#7cb7ff",
    good="#5fd08a",
    warn="#ff8f8f",
    box_share=0.3,
    panel_share=0.12,
)


def style_sheet() -> str:
    """Return the colours in light, in dark where the reader's system is dark, and on paper."""
    classes = "\n".join(_classes())
    light, dark = _properties(LIGHT), _properties(DARK)
    return (
        f":root {{ color-scheme: light dark; {light} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
        f"{classes}\n"
    )


def _properties(ground: Ground) -> str:
    """Write one ground as declarations."""
    names = ("paper", "card", "ink", "muted", "line", "rule", "link", "good", "warn")
    parts = [f"--{name}: {getattr(ground, name)};" for name in names]
    for i, strong in enumerate((*PALETTE, GREY)):
        parts += [
            f"--strong{i}: {_visible(strong, ground, GRAPHIC)};",
            f"--deep{i}: {_visible(strong, ground, LEGIBLE)};",
            f"--box{i}: {mix(strong, ground.paper, ground.box_share)};",
            f"--panel{i}: {mix(strong, ground.paper, ground.panel_share)};",
        ]
    return " ".join(parts)


def _visible(colour: str, ground: Ground, least: float) -> str:
    """Move a colour away from the ground until it can be seen on paper and card."""
    away, share, found = ground.ink, 1.0, colour
    while min(contrast(found, ground.paper), contrast(found, ground.card)) < least:
        share -= 0.05
        found = mix(colour, away, share)
    return found


def _classes() -> Iterator[str]:
    """One class a stage sets the four colours that pictures use."""
    for i in range(len(PALETTE) + 1):
        yield (
            f".s{i} {{ --strong: var(--strong{i}); --deep: var(--deep{i}); "
            f"--box: var(--box{i}); --panel: var(--panel{i}); }}"
        )


def stage_class(stage: int | None) -> str:
    """Return the class of a stage's colours; ``None`` is what belongs to no stage.

    >>> stage_class(0), stage_class(7), stage_class(None)
    ('s0', 's0', 's7')
    """
    return f"s{len(PALETTE)}" if stage is None else f"s{stage % len(PALETTE)}"
