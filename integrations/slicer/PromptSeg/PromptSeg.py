"""3D Slicer: segment by clicks through a promptseg server. Research use only: not a medical device.

Add this folder under Edit > Application Settings > Modules > Additional module paths, and start ``promptseg serve``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
from promptseg_rest import ServerSession
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleWidget

__all__ = ["PromptSeg", "PromptSegWidget"]

POSITIVE, NEGATIVE = "promptseg: object", "promptseg: not object"


class PromptSeg(ScriptedLoadableModule):
    """What Slicer's module list says."""

    def __init__(self, parent: Any) -> None:
        super().__init__(parent)
        parent.title, parent.categories = "PromptSeg", ["Segmentation"]
        parent.helpText = "Segment by clicks, through a promptseg server. Research use only: not a medical device."


class PromptSegWidget(ScriptedLoadableModuleWidget):
    """A server's address, a volume, two lists of points."""

    def setup(self) -> None:
        """Make the panel."""
        super().setup()
        form = qt.QFormLayout(self._section("Server and volume"))
        self._url, self._key, self._model = (
            qt.QLineEdit("http://127.0.0.1:7860"),
            qt.QLineEdit(),
            qt.QLineEdit("builtin"),
        )
        self._volume = slicer.qMRMLNodeComboBox()
        self._volume.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        self._volume.setMRMLScene(slicer.mrmlScene)
        for name, field in (
            ("server", self._url),
            ("API key", self._key),
            ("model", self._model),
            ("volume", self._volume),
        ):
            form.addRow(name, field)
        for text, run in (("Begin", self._begin), ("Undo", self._undo), ("End", self._end)):
            button = qt.QPushButton(text)
            button.connect("clicked()", run)
            form.addRow(button)
        self._session: ServerSession | None = None
        self._shown: Any = None

    def _section(self, text: str) -> Any:
        section = ctk.ctkCollapsibleButton()
        section.text = text
        self.layout.addWidget(section)
        return section

    def _begin(self) -> None:
        with slicer.util.tryWithErrorDisplay("promptseg", waitCursor=True), tempfile.TemporaryDirectory() as name:
            image = Path(name, "image.nrrd")
            slicer.util.saveNode(self._volume.currentNode(), str(image))
            self._session = ServerSession(self._url.text, image, self._model.text, self._key.text)
        for text, positive in ((POSITIVE, True), (NEGATIVE, False)):
            points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", text)
            points.AddObserver(
                slicer.vtkMRMLMarkupsNode.PointPositionDefinedEvent,
                lambda node, _event, positive=positive: self._click(node, positive),
            )

    def _click(self, points: Any, positive: bool) -> None:
        place = [0.0, 0.0, 0.0]
        points.GetNthControlPointPositionWorld(points.GetNumberOfControlPoints() - 1, place)
        with slicer.util.tryWithErrorDisplay("promptseg", waitCursor=True):
            if self._session is not None:
                self._session.click(place, positive=positive)
                self._show()

    def _undo(self) -> None:
        with slicer.util.tryWithErrorDisplay("promptseg", waitCursor=True):
            if self._session is not None:
                self._session.undo()
                self._show()

    def _show(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            path = self._session.write_labels(Path(name, "promptseg.seg.nrrd")) if self._session is not None else None
            if self._shown is not None:
                slicer.mrmlScene.RemoveNode(self._shown)
            self._shown = slicer.util.loadSegmentation(str(path))

    def _end(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def cleanup(self) -> None:
        """Called by Slicer when the module goes."""
        self._end()
