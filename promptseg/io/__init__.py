"""Reading and writing images and masks: the only door for axis order and world frames."""

from promptseg.io.dicom_series import SeriesInfo, list_series
from promptseg.io.read import read_volume
from promptseg.io.read_labels import read_labelmap
from promptseg.io.write import write_labelmap, write_volume

__all__ = ["SeriesInfo", "list_series", "read_labelmap", "read_volume", "write_labelmap", "write_volume"]
