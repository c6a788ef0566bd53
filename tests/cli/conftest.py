"""A small CT on disk, and the program run in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import promptseg
from promptseg.cli.main import main
from promptseg.volume import Geometry, Volume

GRID = Geometry((6, 40, 36), (0.8, 1.2, 2.5), (-20.0, 30.0, -400.0), (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1))


class Done(NamedTuple):
    """What a run of the program gave."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


@pytest.fixture
def program(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run the command line here; no process, no import."""

    def run(*arguments: object) -> Done:
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return run


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A bright block in air: 4 x 20 x 18 voxels of 60 HU."""
    values = np.full(GRID.shape, -900, np.int16)
    values[1:5, 10:30, 9:27] = 60
    return promptseg.write_volume(Volume.from_array(values, GRID, modality="CT"), tmp_path / "scan.nii.gz")[0]
