"""The shipped model: its weights, card and training recipe."""

from __future__ import annotations

from pathlib import Path

__all__ = ["BUILTIN_ONNX", "BUILTIN_SHA256"]

BUILTIN_ONNX = Path(__file__).with_name("builtin.onnx")
"""The shipped network."""

BUILTIN_SHA256 = "06ed1f72d30f6dbde4b6ad863f2f4d4010440da71352aab730d337db407e7b7a"
"""Of the shipped file."""
