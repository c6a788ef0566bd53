"""The tools for agents: the published MCP client, our process, a real server."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from promptseg.example import example_path

mcp = pytest.importorskip("mcp")


def talk(address: str, steps: Callable[[Any], Any], key: str = "") -> Any:
    """Start our process, speak to it, return what ``steps`` returns."""
    command = mcp.StdioServerParameters(
        command=sys.executable,
        args=["-m", "promptseg", "mcp", "--url", address],
        env={**os.environ, "PROMPTSEG_KEY": key},
    )

    async def run() -> Any:
        async with mcp.Client(mcp.stdio_client(command)) as client:
            return await steps(client)

    return asyncio.run(asyncio.wait_for(run(), 300))


def content(result: Any) -> Any:
    assert not result.is_error, result
    return result.structured_content.get("result", result.structured_content)


def test_an_agent_segments_measures_and_exports(listen: Callable[..., str], tmp_path: Path) -> None:
    out = tmp_path / "mask.nii.gz"

    async def steps(client: Any) -> dict[str, Any]:
        tools = {tool.name for tool in (await client.list_tools()).tools}
        assert tools == {"open_image", "list_sessions", "segment", "undo", "measure", "export"}
        opened = content(await client.call_tool("open_image", {"path": str(example_path()), "model": "classical"}))
        ask = {"session": opened["session"], "label": "liver", "points": [[26, 60, 60]]}
        made = content(await client.call_tool("segment", ask))
        rows = content(await client.call_tool("measure", {"session": opened["session"]}))
        export = {"session": opened["session"], "format": "nii.gz", "path": str(out)}
        content(await client.call_tool("export", export))
        wrong = await client.call_tool("segment", {**ask, "points": [[1, 2]]})
        return {"opened": opened, "made": made, "rows": rows, "wrong": wrong}

    said = talk(listen(), steps)
    image, mask = sitk.ReadImage(str(example_path())), sitk.ReadImage(str(out))
    assert said["opened"]["shape_zyx"] == list(sitk.GetArrayFromImage(image).shape)
    assert mask.GetSize() == image.GetSize()
    voxels = sitk.GetArrayFromImage(mask)
    assert voxels[26, 60, 60] == 1
    assert said["made"]["voxels"] == int(np.count_nonzero(voxels))
    assert said["made"]["volume_ml"] == pytest.approx(
        np.prod(image.GetSpacing()) * np.count_nonzero(voxels) / 1000, abs=0.01
    )
    assert json.dumps(said["rows"])
    assert said["wrong"].is_error
    assert "[z, y, x]" in str(said["wrong"].content)


def test_a_wrong_key_is_told_at_once(listen: Callable[..., str]) -> None:
    import subprocess

    address = listen(auth="keys")
    done = subprocess.run(
        [sys.executable, "-m", "promptseg", "mcp", "--url", address],
        env={**os.environ, "PROMPTSEG_KEY": "psk_wrong"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "key" in done.stderr
