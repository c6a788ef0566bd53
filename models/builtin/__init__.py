"""The shipped model: its weights, card and training recipe."""

from __future__ import annotations

from pathlib import Path

__all__ = ["BUILTIN_ONNX", "BUILTIN_SHA256"]

BUILTIN_ONNX = Path(__file__).with_name("builtin.onnx")
"""The shipped network."""

BUILTIN_SHA256 = "77f12571bf7b08f6fa31be319a6b255c29fb3d1ec8cc34bf470ed0e9e49b4379"
"""Of the shipped file."""
