"""Measurements of masks: pure functions of a mask, its geometry and, for intensities, the image."""

from promptseg.measure.diameters import AxialDiameters, Diameter, axial_diameters, longest_diameter
from promptseg.measure.intensity import IntensityMeasures, intensities_of, measure_intensity
from promptseg.measure.quantity import Quantity
from promptseg.measure.ratios import change, cup_to_disc, ejection_fraction, lesion_fraction
from promptseg.measure.shape import ShapeMeasures, measure_shape
from promptseg.measure.surface import SurfaceMesh, surface_mesh

__all__ = [
    "AxialDiameters",
    "Diameter",
    "IntensityMeasures",
    "Quantity",
    "ShapeMeasures",
    "SurfaceMesh",
    "axial_diameters",
    "change",
    "cup_to_disc",
    "ejection_fraction",
    "intensities_of",
    "lesion_fraction",
    "longest_diameter",
    "measure_intensity",
    "measure_shape",
    "surface_mesh",
]
