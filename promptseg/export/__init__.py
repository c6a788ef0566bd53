"""Results for other systems: DICOM SEG and RTSTRUCT, surface meshes, and reading such objects back.

Importing this package loads neither pydicom nor highdicom; the functions do when they run.
"""

from promptseg.export.dicom_seg import read_dicom_seg, write_dicom_seg
from promptseg.export.dicom_sr import write_dicom_sr
from promptseg.export.mesh import write_mesh
from promptseg.export.provenance import Provenance, provenance_of
from promptseg.export.read import ImportOptions, read_segmentation
from promptseg.export.rtstruct import read_rtstruct, write_rtstruct
from promptseg.export.segments import Segment, SegmentSet
from promptseg.export.source import DicomSource, read_source

__all__ = [
    "DicomSource",
    "ImportOptions",
    "Provenance",
    "Segment",
    "SegmentSet",
    "provenance_of",
    "read_dicom_seg",
    "read_rtstruct",
    "read_segmentation",
    "read_source",
    "write_dicom_seg",
    "write_dicom_sr",
    "write_mesh",
    "write_rtstruct",
]
