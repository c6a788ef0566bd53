"""The notebook's cells, one after the other, as a kernel would run them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from .loading import FOLDER

pytestmark = pytest.mark.slow


def test_every_cell_runs_and_holds_no_output() -> None:
    notebook = json.loads((FOLDER / "notebook" / "promptseg.ipynb").read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) >= (4, 5)
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] for cell in cells)
    state: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(cells):
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), state)
    assert state["picture"].ndim == 3
    assert np.isfinite([row["value"] for row in state["rows"] if isinstance(row["value"], float)]).all()
    assert state["image"].GetSize() == state["volume"].shape[::-1]
