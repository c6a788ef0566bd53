"""Images and masks with their geometry."""

from promptseg.volume.geometry import Geometry
from promptseg.volume.intensity import CT_PRESETS, Window, choose_window, parse_window
from promptseg.volume.labelmap import Label, Labelmap
from promptseg.volume.volume import Volume

__all__ = ["CT_PRESETS", "Geometry", "Label", "Labelmap", "Volume", "Window", "choose_window", "parse_window"]
