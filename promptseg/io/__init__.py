"""Reading and writing images and masks: the only door for axis order and world frames."""

from promptseg.io.read import read_volume
from promptseg.io.write import write_labelmap, write_volume

__all__ = ["read_volume", "write_labelmap", "write_volume"]
