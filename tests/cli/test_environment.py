"""``promptseg doctor``: what it calls ok was tried."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from promptseg.cli import environment


def test_modules_are_really_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "good_one.py").write_text("")
    (tmp_path / "half_one.py").write_text("import a_module_that_is_missing")
    (tmp_path / "deadly_one.py").write_text("import os; os._exit(7)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = environment.try_imports(["good_one", "half_one", "deadly_one", "json"])
    assert (found["good_one"], found["json"]) == ("", "")
    assert "a_module_that_is_missing" in found["half_one"]
    assert "code 7" in found["deadly_one"]


def test_a_torchvision_that_does_not_fit_is_said(program: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = "RuntimeError: operator torchvision::nms does not exist"
    monkeypatch.setattr(
        environment, "try_imports", lambda names: {name: wrong if "sam2" in name else "" for name in names}
    )
    done = program("doctor", "--json")
    found = {finding["topic"]: finding for finding in done.data}
    assert done.code == 1
    assert found["[sam]"]["state"] == "broken"
    assert "does not match torch" in found["[sam]"]["text"]
    assert found["[app]"]["state"] == "ok"
    assert {"[mcp]", "[openvino]", "[parquet]", "[nninteractive]", "[postgresql]"} <= set(found)
    assert not {"[dev]", "[all]"} & set(found)


def test_what_extras_are_used_through_is_known() -> None:
    assert set(environment._extras()) == set(environment.USED_THROUGH)
