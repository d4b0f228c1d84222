"""One finding of the traffic light, and its colours."""

from dataclasses import dataclass
from typing import Literal

Colour = Literal["green", "amber", "red"]
COLOURS: tuple[Colour, ...] = ("green", "amber", "red")  # from harmless to worst


@dataclass(frozen=True)
class Reason:
    """One finding: its colour and what it means."""

    colour: Colour
    text: str
