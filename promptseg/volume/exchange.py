"""Arrays with their place as other libraries hold them: SimpleITK (LPS), nibabel and MONAI ((x, y, z), RAS)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from promptseg.volume.geometry import Geometry

__all__ = ["as_nibabel", "as_sitk", "as_torch", "ras_affine"]


def as_sitk(array: NDArray[Any], geometry: Geometry) -> Any:
    """Return a SimpleITK image of (z, y, x[, components]); its frame is the house's."""
    import SimpleITK as sitk

    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array), isVector=array.ndim == 4)
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    return image


def ras_affine(geometry: Geometry) -> NDArray[np.float64]:
    """Return the affine (4, 4) from voxel (x, y, z) to RAS mm."""
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(geometry.direction).reshape(3, 3) * np.asarray(geometry.spacing)
    affine[:3, 3] = geometry.origin
    return np.asarray(np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)


def as_nibabel(array: NDArray[Any], geometry: Geometry) -> Any:
    """Return a nibabel NIfTI image (x, y, z) of (z, y, x), in mm and scanner coordinates.

    Raises:
        MissingExtraError: nibabel is not installed.
    """
    try:
        import nibabel
    except ImportError as exc:
        from promptseg.errors import MissingExtraError

        raise MissingExtraError("nibabel", "wholebody") from exc
    image = nibabel.Nifti1Image(np.ascontiguousarray(array.transpose(2, 1, 0)), ras_affine(geometry))
    image.header.set_xyzt_units("mm")
    image.set_sform(image.affine, code=1)
    image.set_qform(image.affine, code=1)
    return image


def as_torch(array: NDArray[Any], geometry: Geometry) -> Any:
    """Return a tensor (1, x, y, z) as MONAI has them: a MetaTensor with its affine to RAS mm where MONAI is installed.

    Raises:
        MissingExtraError: torch is not installed.
    """
    try:
        import torch
    except ImportError as exc:
        from promptseg.errors import MissingExtraError

        raise MissingExtraError("torch", "sam") from exc
    tensor = torch.from_numpy(np.ascontiguousarray(array.transpose(2, 1, 0))[None])
    try:
        from monai.data.meta_tensor import MetaTensor
    except ImportError:
        return tensor
    return MetaTensor(tensor, affine=torch.from_numpy(ras_affine(geometry)))
