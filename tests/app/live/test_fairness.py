"""How much of a thread each person had lately."""

from __future__ import annotations

import pytest

from promptseg.app.live.fairness import HALF_S, TimeUsed


def test_what_was_used_fades_by_half() -> None:
    now = [100.0]
    used = TimeUsed(lambda: now[0])
    used.add("ann", 8.0)
    now[0] += HALF_S
    assert used.of("ann") == pytest.approx(4.0)
    used.add("ann", 1.0)
    now[0] += 2 * HALF_S
    assert used.of("ann") == pytest.approx(1.25)
    assert used.of("bob") == 0.0


def test_who_was_away_long_enough_is_forgotten() -> None:
    now = [0.0]
    used = TimeUsed(lambda: now[0])
    used.add("ann", 1.0)
    now[0] += 20 * HALF_S
    used.add("bob", 1.0)
    assert list(used._seconds) == ["bob"]
