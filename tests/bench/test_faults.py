"""Wrong masks: each kind is wrong in its own way, and the same name gives the same mask."""

import numpy as np
import pytest

from promptseg.bench.faults import FAULTS, faulty

SPACING = (2.5, 0.9, 1.1)  # z, y, x mm
Z, Y, X = np.mgrid[:30, :80, :70]
TRUTH = ((Z - 13) * 2.5) ** 2 + ((Y - 38) * 0.9) ** 2 + ((X - 30) * 1.1) ** 2 < 17.0**2


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


@pytest.mark.parametrize("kind", FAULTS)
def test_every_fault_is_large_but_leaves_the_object_to_be_seen(kind):
    wrong = FAULTS[kind](TRUTH, SPACING, np.random.default_rng(3))
    assert wrong.dtype == np.bool_
    assert wrong.shape == TRUTH.shape
    assert 0.5 < dice(wrong, TRUTH) < 0.95


def test_kinds_differ_in_what_is_wrong():
    wrong = {kind: make(TRUTH, SPACING, np.random.default_rng(3)) for kind, make in FAULTS.items()}
    assert not (wrong["missing"] & ~TRUTH).any()
    assert not (TRUTH & ~wrong["leak"]).any()
    assert not (TRUTH & ~wrong["neighbour"]).any()
    assert (wrong["border"] & ~TRUTH).any()
    assert (TRUTH & ~wrong["border"]).any()


def test_the_name_decides():
    assert np.array_equal(faulty(TRUTH, SPACING, "ct/liver"), faulty(TRUTH, SPACING, "ct/liver"))
    made = [faulty(TRUTH, SPACING, f"case {n}") for n in range(8)]
    assert len({mask.tobytes() for mask in made}) == 8
