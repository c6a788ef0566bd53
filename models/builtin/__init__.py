"""The shipped model: its weights, card and training recipe."""

from __future__ import annotations

from pathlib import Path

__all__ = ["BUILTIN_ONNX", "BUILTIN_SHA256"]

BUILTIN_ONNX = Path(__file__).with_name("builtin.onnx")
"""The shipped network."""

BUILTIN_SHA256 = "2f6021fa269f6c20ac0eaac3e1db28af6d09267876cff75f335bf034ad710eba"
"""Of the shipped file."""
