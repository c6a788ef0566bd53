"""Measurements of masks: pure functions of a mask, its geometry and, for intensities, the image."""
