"""The examples of docs/rest.md run, as they stand, one after the other."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from promptseg.app.live.exporting import EXPORTS
from promptseg.example import example_path

from ..servers import InThread

DOCS = Path(__file__).resolve().parents[3] / "docs" / "rest.md"


def test_the_examples_run(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    from promptseg.app.settings import ServeSettings

    blocks = re.findall(r"^```sh\n(.*?)^```$", DOCS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 8
    script = "set -euo pipefail\n" + "\n".join(blocks)
    with InThread(ServeSettings(data=tmp_path / "data")) as url:
        variables = {**os.environ, "BASE": url, "IMAGE": str(example_path())}
        done = subprocess.run(
            ["bash", "-c", script],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=variables,
            timeout=600,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
    assert (tmp_path / "mask.nii.gz").stat().st_size > 500
    assert '"kind":"done"' in done.stdout or '"state":"done"' in done.stdout


def test_every_format_is_named() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert [name for name in EXPORTS if f"`{name}`" not in text] == []
