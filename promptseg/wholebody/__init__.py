"""Whole-body segmentation with TotalSegmentator: tasks, weights, networks that stay loaded, names of anatomy."""

from __future__ import annotations

from promptseg.wholebody.engine import Inferred, Prepared, WholeBody, WholeBodyResult, segment_whole_body
from promptseg.wholebody.options import RunOptions
from promptseg.wholebody.steps import STEPS, OnStep, StepProgress

__all__ = [
    "STEPS",
    "Inferred",
    "OnStep",
    "Prepared",
    "RunOptions",
    "StepProgress",
    "WholeBody",
    "WholeBodyResult",
    "segment_whole_body",
]
