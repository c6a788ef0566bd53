"""Positions of slices, placed by hand, and what they must be called."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from promptseg.check import Severity, measure_stack, stack_findings
from promptseg.check.stack import thickness_findings

Z = np.array([0.0, 0.0, 1.0])


def _line(heights: list[float], slope: float = 0.0) -> NDArray[np.float64]:
    """Return positions at these heights that shift along y by ``slope`` mm per mm of height."""
    return np.array([[-10.0, 5.0 + slope * h, h] for h in heights])


def test_a_regular_stack_has_no_findings() -> None:
    facts = measure_stack(_line([0, 2.5, 5, 7.5]), Z, 0.5)
    assert (facts.step_mm, facts.tilt_degrees, facts.drift_mm) == (2.5, 0, 0)
    assert stack_findings(facts) == []


@pytest.mark.parametrize("degrees", [5.0, 12.0, 30.0])
def test_tilt_is_measured(degrees: float) -> None:
    facts = measure_stack(_line([0, 3, 6, 9], np.tan(np.radians(degrees))), Z, 0.5)
    assert facts.tilt_degrees == pytest.approx(degrees)
    (finding,) = stack_findings(facts)
    assert (finding.code, finding.severity, finding.done) == ("gantry-tilt", Severity.ERROR, "refused")
    assert f"{degrees:.1f} degrees" in finding


def test_missing_slices_are_counted() -> None:
    facts = measure_stack(_line([0, 2, 4, 10, 12, 16]), Z, 1.0)  # 6, 8 and 14 are not there
    assert facts.missing == 3
    (finding,) = stack_findings(facts)
    assert finding.code == "missing-slices"
    assert "slices missing: 3" in finding


def test_uneven_gaps_are_no_missing_slices() -> None:
    facts = measure_stack(_line([0, 4, 8, 9.1, 16]), Z, 1.0)
    assert facts.missing == 0
    (finding,) = stack_findings(facts)
    assert finding.code == "uneven-gaps"
    assert "from 1.10 to 6.90 mm" in finding


def test_gaps_that_add_up_are_uneven() -> None:
    heights = np.cumsum([0, *[2.0 + 0.06 * i / 10 for i in range(30)]]).tolist()  # each step 0.3 % wider than the last
    assert measure_stack(_line(heights), Z, 1.0).is_uneven


def test_tilt_and_gaps_are_both_told() -> None:
    facts = measure_stack(_line([0, 4, 5], 0.3), Z, 0.5)
    assert [finding.code for finding in stack_findings(facts)] == ["gantry-tilt", "missing-slices"]


def test_small_drift_is_a_warning() -> None:
    (finding,) = stack_findings(measure_stack(_line([0, 1, 2], 0.1), Z, 1.0))
    assert (finding.code, finding.severity) == ("sideways-drift", Severity.WARNING)


def test_thin_slices_far_apart() -> None:
    assert [finding.code for finding in thickness_findings(5.0, 2.0)] == ["gaps-between-slices"]
    assert thickness_findings(5.0, 5.0) == []
    assert thickness_findings(5.0, None) == []
