"""What is made of studies for viewers is kept as long as there is room."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from promptseg.app.studies.series import Series, VolumeCache
from promptseg.volume import Geometry, Volume


def test_images_that_were_not_used_for_long_leave_the_cache(tmp_path: Path) -> None:
    volume = Volume.from_array(np.zeros((4, 5, 6), np.int16), Geometry((4, 5, 6), spacing=(0.5, 0.6, 2.0)))
    series = Series("1", "scan", "CT", (4, 5, 6), (0.5, 0.6, 2.0), 1, False)
    cache = VolumeCache(tmp_path, most_bytes=1500)  # each file: 352 bytes of header, 240 of voxels
    made = [cache.image_file(study, series, None, volume) for study in ("a", "b", "c")]
    assert [file.exists() for file in made] == [True, True, True]  # all of the last minute
    for number, file in enumerate(made):
        os.utime(file, (time.time() - 1000 + number,) * 2)
    cache.image_file("a", series, None, volume)  # used again
    last = cache.image_file("d", series, None, volume)
    assert [file.exists() for file in (*made, last)] == [True, False, False, True]
