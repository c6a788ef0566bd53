"""The shipped model: its weights, card and training recipe."""

from __future__ import annotations

from pathlib import Path

__all__ = ["BUILTIN_ONNX", "BUILTIN_SHA256"]

BUILTIN_ONNX = Path(__file__).with_name("builtin.onnx")
"""The shipped network."""

BUILTIN_SHA256 = "228937339d325dadd9475bd09a962e293db3621d872289faf7da4ccb74b3b79a"
"""Of the shipped file."""
