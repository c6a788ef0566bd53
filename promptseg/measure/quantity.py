"""A measured number that says what it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Quantity"]


@dataclass(frozen=True)
class Quantity:
    """A number, or a few that belong together.

    Attributes:
        name: what it is, e.g. ``"volume"``.
        value: a number, or a point or box of numbers.
        unit: e.g. ``"ml"``; "" for a pure number.
        definition: how it is computed, and where that definition stands.
    """

    name: str
    value: float | int | Sequence[float] | Sequence[int]
    unit: str
    definition: str

    def text(self) -> str:
        """Return the value for people: four significant digits or one decimal, whichever tells more."""
        values = self.value if isinstance(self.value, Sequence) else (self.value,)
        return ", ".join(f"{v}" if isinstance(v, int) else f"{v:.1f}" if abs(v) >= 1000 else f"{v:.4g}" for v in values)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        value: Any = list(self.value) if isinstance(self.value, Sequence) else self.value
        return {"name": self.name, "value": value, "unit": self.unit, "definition": self.definition}
