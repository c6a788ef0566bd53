"""Damaged objects are read or refused with a sentence; nothing else escapes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from promptseg.errors import PromptsegError
from promptseg.export import ImportOptions, read_segmentation, read_source, write_dicom_seg, write_rtstruct
from promptseg.volume import Geometry, Labelmap


@pytest.mark.parametrize("kind", ["binary", "labelmap", "rtstruct"])
def test_bytes_changed_at_random(
    kind: str, write_images: Callable[..., Path], tmp_path: Path, oblique: Geometry
) -> None:
    array = np.zeros(oblique.shape, np.uint8)
    array[1:3, 5:20, 3:18] = 1
    source = read_source(write_images(oblique))
    path = tmp_path / "whole.dcm"
    if kind == "rtstruct":
        write_rtstruct(Labelmap(array, oblique), path, source)
    else:
        write_dicom_seg(Labelmap(array, oblique), path, source, kind=kind)
    whole = path.read_bytes()
    rng = np.random.default_rng(8)
    messages = []
    for _ in range(80):
        changed = bytearray(whole)
        for _ in range(rng.integers(1, 8)):
            place = int(rng.integers(132, len(changed)))
            if rng.random() < 0.5:
                changed[place] = rng.integers(256)
            else:
                del changed[place : place + int(rng.integers(1, 40))]
        path.write_bytes(changed)
        try:
            read_segmentation(path, ImportOptions(oblique))
        except PromptsegError as error:
            messages.append(str(error))
    assert len(messages) > 20
    assert all(len(message.splitlines()) == 1 for message in messages)
