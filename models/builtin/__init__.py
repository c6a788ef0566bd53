"""The shipped model: its weights, card and training recipe."""

from __future__ import annotations

from pathlib import Path

__all__ = ["BUILTIN_3D_ONNX", "BUILTIN_3D_SHA256", "BUILTIN_ATTRIBUTION", "BUILTIN_ONNX", "BUILTIN_SHA256"]

BUILTIN_ONNX = Path(__file__).with_name("builtin.onnx")
"""The shipped 2D network."""

BUILTIN_ATTRIBUTION = Path(__file__).with_name("ATTRIBUTION.csv")
"""Whose images the 2D network was trained on, and under which licences."""

BUILTIN_SHA256 = "09c846ec313c49ef4cc4b7f961d3509bcc5f58bc359b3603f828c10a5e414eab"
"""Of the shipped 2D file."""

BUILTIN_3D_ONNX = Path(__file__).with_name("builtin3d.onnx")
"""The shipped 3D network."""

BUILTIN_3D_SHA256 = "5aa96c8caf2a3bca86b1d0022fc818a5993e64f61ac3f5c27b51e8dd8e0ac5a1"
"""Of the shipped 3D file."""
