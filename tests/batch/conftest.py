"""Fixtures of the batch tests: a job that makes trouble, importable here and in worker processes."""

import os
from pathlib import Path

import pytest

from promptseg.batch.case import Case
from promptseg.batch.job import JobSpec

HERE = Path(__file__).parent


@pytest.fixture
def trouble(monkeypatch):
    """Return the spec of the job in ``trouble.py``."""
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]))
    return JobSpec("trouble:TroubleJob", device="cpu")


@pytest.fixture
def cases(tmp_path):
    """Make cases with given ids."""
    return lambda *ids: [Case(case_id, str(tmp_path / f"doe_jane_{case_id}")) for case_id in ids]
