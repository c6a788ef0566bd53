"""Tools for agents by the Model Context Protocol: open, segment, correct, measure, export.

A process of its own that speaks to a running server by REST, so that an agent has the rights and limits of the key it
was given and nothing more. Files are read and written where this process runs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from promptseg.errors import MissingExtraError, PromptError, PromptsegError
from promptseg.prompts import Box, Point, Prompt
from promptseg.remote.client import Client, RemoteSession

__all__ = ["Tools", "run"]

ABOUT = (
    "Promptable segmentation of medical images. Coordinates are voxels in the order z, y, x, counted from 0; boxes are "
    "half-open. Research use only: not a medical device. Show results to a person before anything follows from them."
)
REVIEWED = 5  # slices named to look at


class Tools:
    """What an agent may do; each method is a tool, its docstring what the agent reads.

    Args:
        client: a connection to a server.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._open: dict[str, RemoteSession] = {}

    def open_image(self, path: str | None = None, model: str = "builtin") -> dict[str, Any]:
        """Open an image file or a DICOM folder of this machine (the example without a path) and begin a session."""
        study = self._client.server_study() if path is None else self._client.add_study(path)
        session = self._client.session_on(study["id"], model)
        self._open[session.id] = session
        return {"session": session.id, "shape_zyx": list(session.shape), "findings": study.get("findings", [])}

    def list_sessions(self) -> list[dict[str, Any]]:
        """List your sessions, the last used first."""
        return [{name: one[name] for name in ("id", "title", "model")} for one in self._client.sessions()]

    def segment(
        self,
        session: str,
        label: str,
        points: list[list[float]] | None = None,
        negative_points: list[list[float]] | None = None,
        box: list[list[float]] | None = None,
    ) -> dict[str, Any]:
        """Add prompts to a label (made if new) and carry the mask through the volume.

        Points are [z, y, x] inside the object, negative points outside it; a box is [[z0, y0, x0], [z1, y1, x1]].
        Call again with more points to correct.
        """
        work = self._session(session)
        prompts: list[Prompt] = [Box(voxel=(_triple(box[0]), _triple(box[1])))] if box else []
        prompts += [Point(voxel=_triple(point)) for point in points or []]
        prompts += [Point(voxel=_triple(point), positive=False) for point in negative_points or []]
        if label in {one.name for one in work.labels.values()}:
            work.select(label)
        else:
            work.new_label(label)
        changed = work.add(*prompts)
        return {**self._told(work, label), "changed_zyx": None if changed is None else [list(c) for c in changed]}

    def undo(self, session: str) -> dict[str, Any]:
        """Take the last step of a session back."""
        work = self._session(session)
        work.undo()
        return {"can_undo": work.can_undo, "can_redo": work.can_redo}

    def measure(self, session: str) -> list[dict[str, Any]]:
        """Measure every label: volume, diameters, intensities, each with its unit."""
        return self._session(session).measurements()

    def export(self, session: str, format: str, path: str) -> str:
        """Write labels or a report to a file here: nii.gz, nrrd, seg.nrrd, mha, dicom-seg, report.pdf, ..."""
        return str(self._session(session).export(format, path))

    def _session(self, session_id: str) -> RemoteSession:
        if session_id not in self._open:
            self._open[session_id] = self._client.resume(session_id)
        return self._open[session_id]

    @staticmethod
    def _told(session: RemoteSession, label: str) -> dict[str, Any]:
        ml = session.volume_ml(label)
        return {
            "label": label,
            "voxels": int(session.mask(label).sum()),
            "volume_ml": None if ml is None else round(ml, 3),
            "look_at_first": [
                {"plane": one.plane.value, "index": one.index, "confidence": one.confidence, "reason": one.reason}
                for one in session.review(label)[:REVIEWED]
            ],
        }


def run(url: str, key: str | None) -> None:
    """Serve the tools on standard input and output until it closes.

    Raises:
        MissingExtraError: the package mcp is not installed.
        RemoteError: the server does not answer, or refuses the key.
    """
    try:
        from mcp.server import MCPServer
        from mcp.server.mcpserver.exceptions import ToolError
    except ImportError as exc:
        raise MissingExtraError("mcp", "mcp") from exc
    with Client(url, key) as client:
        client.sessions()  # a wrong address or key is told now, not at the first tool
        tools = Tools(client)
        server = MCPServer("promptseg", instructions=ABOUT)
        calls = (tools.open_image, tools.list_sessions, tools.segment, tools.undo, tools.measure, tools.export)
        for call in calls:
            server.tool()(_telling(call, ToolError))
        server.run()


def _telling(call: Callable[..., Any], error: type[Exception]) -> Callable[..., Any]:
    """Return the tool with our errors as ``error``, whose text reaches the agent; others' is kept back."""

    @functools.wraps(call)
    def told(*args: Any, **named: Any) -> Any:
        try:
            return call(*args, **named)
        except PromptsegError as exc:
            raise error(str(exc)) from exc

    return told


def _triple(values: list[float]) -> tuple[float, float, float]:
    if len(values) != 3:
        raise PromptError(f"expected a voxel as [z, y, x], got {values}")
    return (values[0], values[1], values[2])
