"""The demo: every object of the example is found, also the one that lies inside another."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def test_every_object_of_the_example_is_found(program: Callable[..., Any], tmp_path: Path) -> None:
    done = program("demo", "-o", tmp_path / "out", "--json")
    said = json.loads(done.out)
    assert {row["name"]: row["dice"] > 0.7 for row in said["objects"]} == dict.fromkeys(
        ("liver", "spleen", "kidney_left", "kidney_right", "lesion"), True
    )
    assert (tmp_path / "out" / "overlay.png").is_file()
