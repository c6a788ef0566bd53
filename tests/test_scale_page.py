"""docs/scale.md: its table is what the script prints, and the script's arithmetic is that of the page."""

import importlib.util
import re
import shlex
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("batch_stages", ROOT / "benchmarks" / "batch_stages.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look
    spec.loader.exec_module(module)
    return module


def test_the_pages_table_is_what_its_command_prints(script, capsys):
    command = re.search(r"<!-- python benchmarks/batch_stages\.py (.*) -->", PAGE).group(1)
    script.main(shlex.split(command))
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(printed) == 8
    assert "\n".join(printed) in PAGE


def test_the_arithmetic_by_hand(script):
    one = script.Measured(prepare_s=8, infer_s=20, finish_s=10, read_mb=100, written_mb=2)
    found = script.plan(36_000, 4, one, failure_rate=0.0, node_mtbf_h=1e12)
    assert found.line_hours == pytest.approx(200)  # 36000 studies at 180 an hour
    assert found.days == pytest.approx(200 / 4 / 24)
    assert found.stored_tb == pytest.approx(0.072)
    assert found.network_mb_s == pytest.approx(4 * 102 / 20)
    failing = script.plan(36_000, 4, one, failure_rate=0.5, node_mtbf_h=100)
    assert failing.line_hours == pytest.approx(
        300 + 3 * 1.5 * 38 / 3600
    )  # three lost nodes, three half-done studies each
    assert failing.repeated == pytest.approx(18_000 + 9)
