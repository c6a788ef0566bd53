"""promptseg: clicks, boxes and scribbles into 3D masks."""
