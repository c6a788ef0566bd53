"""Segment by clicks in napari; research use only: not a medical device."""
