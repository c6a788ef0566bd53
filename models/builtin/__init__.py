"""The shipped model: its weights, card and training recipe."""

from __future__ import annotations

from pathlib import Path

__all__ = ["BUILTIN_ONNX"]

BUILTIN_ONNX = Path(__file__).with_name("builtin.onnx")
"""The shipped network."""
