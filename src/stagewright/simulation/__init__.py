"""Running a plan in time: a discrete-event simulation. Depends on the model's data only.

It shares no code with the evaluator, so that each can find the other's mistakes.
"""

from stagewright.simulation.conditions import Conditions, Links, conditions_of
from stagewright.simulation.orders import Order, Pace
from stagewright.simulation.schedule import Schedule, parse_schedule
from stagewright.simulation.simulate import Simulation, simulate, simulate_schedule
from stagewright.simulation.timeline import (
    Event,
    Gpu,
    GpuFigures,
    LinkFigures,
    MemoryCurve,
    Work,
)

__all__ = [
    "Conditions",
    "Event",
    "Gpu",
    "GpuFigures",
    "LinkFigures",
    "Links",
    "MemoryCurve",
    "Order",
    "Pace",
    "Schedule",
    "Simulation",
    "Work",
    "conditions_of",
    "parse_schedule",
    "simulate",
    "simulate_schedule",
]
