"""The shipped model: its weights, card and training recipe."""

from __future__ import annotations

from pathlib import Path

__all__ = ["BUILTIN_ONNX", "BUILTIN_SHA256"]

BUILTIN_ONNX = Path(__file__).with_name("builtin.onnx")
"""The shipped network."""

BUILTIN_SHA256 = "0d1b1bd2db9e18aafab1fc02090f102f0da01ee9ef256241192410a257e41d98"
"""Of the shipped file."""
