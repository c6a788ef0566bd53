"""Judging geometry: pure functions from facts (positions, spacings, headers) to findings. Reads no file."""

from promptseg.check.finding import Finding, Severity, worst
from promptseg.check.grids import compare_grids
from promptseg.check.stack import StackFacts, measure_stack, stack_findings

__all__ = ["Finding", "Severity", "StackFacts", "compare_grids", "measure_stack", "stack_findings", "worst"]
