"""The MONAI transform: the mask lies where the image lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import promptseg
from promptseg.volume import Geometry, Volume

from .loading import loaded

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore:NvImgCodec:UserWarning")]  # not ours
GRID = Geometry((6, 40, 36), (0.8, 1.2, 2.5), (-20.0, 30.0, -400.0), (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1))


def test_a_mask_beside_each_image_in_the_same_place(tmp_path: Path) -> None:
    pytest.importorskip("monai")
    from monai.transforms.compose import Compose
    from monai.transforms.io.dictionary import LoadImaged
    from monai.transforms.utility.dictionary import EnsureChannelFirstd

    values = np.full(GRID.shape, -900, np.int16)
    values[1:5, 10:30, 9:27] = 60
    volume = Volume.from_array(values, GRID)
    promptseg.write_volume(volume, tmp_path / "scan.nii.gz")
    transform: Any = loaded("monai/promptsegd.py").PromptSegd("image", model="classical", device="cpu")
    pipeline = Compose([LoadImaged("image"), EnsureChannelFirstd("image"), transform])
    prompts = [{"type": "point", "voxel": [2, 20, 18]}]
    made = pipeline({"image": str(tmp_path / "scan.nii.gz"), "prompts": prompts})
    mask = made["image_seg"]
    assert tuple(mask.shape) == (1, 36, 40, 6)
    np.testing.assert_allclose(np.asarray(mask.affine), np.asarray(made["image"].affine), atol=1e-4)
    alone = promptseg.segment(tmp_path / "scan.nii.gz", [promptseg.Point(voxel=(2, 20, 18))], "classical", "cpu")
    np.testing.assert_array_equal(np.asarray(mask)[0].transpose(2, 1, 0), alone.array)
    assert alone.array.any()
