"""The dock widget: choose an image, click with the left button on it, with Shift on what is not the object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import napari
from magicgui.widgets import CheckBox, Container, LineEdit, PushButton, create_widget
from napari.layers import Image, Labels

from napari_promptseg.clicks import Clicks

__all__ = ["clicks_widget"]


class clicks_widget(Container):  # type: ignore[misc]  # noqa: N801 - napari shows the name
    """Made by napari with its viewer."""

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer, self._clicks, self._shown = viewer, None, None
        self._image = create_widget(annotation=Image, label="image")
        self._model = LineEdit(value="builtin", label="model")
        self._carry = CheckBox(value=True, label="through the volume")
        begin, undo = PushButton(text="Begin"), PushButton(text="Undo")
        begin.clicked.connect(self._begin)
        undo.clicked.connect(lambda: self._show(self._clicks.undo()) if self._clicks else None)
        super().__init__(widgets=[self._image, self._model, self._carry, begin, undo])

    def _begin(self) -> None:
        layer = self._image.value
        self._clicks = Clicks(layer, self._model.value)
        self._shown = self._viewer.add_labels(
            self._clicks.labels, name=f"{layer.name} promptseg", scale=layer.scale, translate=layer.translate
        )
        self._shown.mouse_drag_callbacks.append(self._clicked)
        self._viewer.layers.selection.active = self._shown

    def _clicked(self, layer: Labels, event: Any) -> Iterator[None]:
        dragged = False
        yield
        while event.type == "mouse_move":
            dragged = True
            yield
        if not dragged and self._clicks is not None:
            place = layer.world_to_data(event.position)
            shift = "Shift" in event.modifiers
            self._show(self._clicks.click(place, positive=not shift, propagate=self._carry.value))

    def _show(self, labels: Any) -> None:
        if self._shown is not None:
            self._shown.data = labels
