"""Names of the axes of SAM's arrays in exported files."""

from __future__ import annotations

__all__ = ["SIZES"]


SIZES = ("slices", "h", "w")
"""Names of our encoders' free dimensions."""
