"""The shipped model: its weights, card and training recipe."""

from __future__ import annotations

from pathlib import Path

__all__ = ["BUILTIN_3D_ONNX", "BUILTIN_3D_SHA256", "BUILTIN_ONNX", "BUILTIN_SHA256"]

BUILTIN_ONNX = Path(__file__).with_name("builtin.onnx")
"""The shipped 2D network."""

BUILTIN_SHA256 = "228937339d325dadd9475bd09a962e293db3621d872289faf7da4ccb74b3b79a"
"""Of the shipped 2D file."""

BUILTIN_3D_ONNX = Path(__file__).with_name("builtin3d.onnx")
"""The shipped 3D network."""

BUILTIN_3D_SHA256 = "5aa96c8caf2a3bca86b1d0022fc818a5993e64f61ac3f5c27b51e8dd8e0ac5a1"
"""Of the shipped 3D file."""
