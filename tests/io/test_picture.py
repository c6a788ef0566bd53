"""PNG and JPEG against Pillow: opacity, palettes, interlacing, inks, damage."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from promptseg.errors import ReadError
from promptseg.io import read_labelmap, read_volume

RNG = np.random.default_rng(5)


def _png(path: Path, kind: int, depth: int, rows: list[bytes], width: int, interlaced: int = 0) -> Path:
    """Write a PNG by hand: Pillow and ITK write neither 16-bit grey with opacity nor interlaced ones."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")

    size = width.to_bytes(4, "big") + (interlaced or len(rows)).to_bytes(4, "big")
    header = size + bytes([depth, kind, 0, 0, int(bool(interlaced))])
    packed = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("opaque", [True, False])
def test_grey_with_opacity(depth: int, opaque: bool, tmp_path: Path) -> None:
    grey = RNG.integers(0, 2**depth, (9, 13)).astype(f">u{depth // 8}")
    opacity = np.full_like(grey, 2**depth - 1) if opaque else grey[::-1]
    pairs = np.stack([grey, opacity], axis=-1).astype(grey.dtype)
    path = _png(tmp_path / "a.png", 4, depth, [row.tobytes() for row in pairs], 13)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array[0], grey)
    assert ("transparency-dropped" in [finding.code for finding in volume.findings]) is not opaque


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_palette_is_a_picture_and_a_label_map(bits: int, tmp_path: Path) -> None:
    labels = RNG.integers(0, min(4, 2**bits), (9, 13), dtype=np.uint8)
    palette = [(0, 0, 0), (255, 0, 20), (0, 200, 30), (7, 9, 255)]
    image = Image.fromarray(labels, mode="P")
    image.putpalette([part for colour in palette for part in colour])
    image.save(tmp_path / "a.png", bits=bits)
    with Image.open(tmp_path / "a.png") as again:
        np.testing.assert_array_equal(read_volume(tmp_path / "a.png").array[0], np.asarray(again.convert("RGB")))
    read = read_labelmap(tmp_path / "a.png")
    np.testing.assert_array_equal(read.array[0], labels)
    assert read.labels[1].color == (255, 0, 20)


def test_interlaced(tmp_path: Path) -> None:
    """Adam7 by hand: the passes of an image of one value per pass."""
    grey = RNG.integers(0, 256, (9, 13), dtype=np.uint8)
    starts = ((0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2))
    rows = [row.tobytes() for x, dx, y, dy in starts for row in grey[y::dy, x::dx] if row.size]
    path = _png(tmp_path / "a.png", 0, 8, rows, 13, interlaced=9)
    np.testing.assert_array_equal(read_volume(path).array[0], grey)
    _png(path, 0, 8, rows[:-1], 13, interlaced=9)
    with pytest.raises(ReadError, match="cut short"):
        read_volume(path)


@pytest.mark.parametrize("kind", [0, 2, 3, 4, 6])
def test_rows_that_are_missing(kind: int, tmp_path: Path) -> None:
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
    header_rows = [bytes(13 * channels)] * 9
    path = _png(tmp_path / "a.png", kind, 8, header_rows, 13)
    data = bytearray(path.read_bytes())
    data[20:24] = (12).to_bytes(4, "big")  # the header says 12 rows
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    path.write_bytes(data)
    for _ in range(2):
        sitk.GetArrayFromImage(sitk.GetImageFromArray(np.full((64, 64), 77, np.uint8)))
        with pytest.raises(ReadError, match="cut short"):
            read_volume(path)


def test_a_checksum_that_is_wrong(tmp_path: Path) -> None:
    path = _png(tmp_path / "a.png", 0, 8, [bytes(13)] * 9, 13)
    data = bytearray(path.read_bytes())
    data[-18] ^= 1
    path.write_bytes(data)
    with pytest.raises(ReadError, match="damaged"):
        read_volume(path)


def test_inks_of_a_jpeg(tmp_path: Path) -> None:
    colours = np.zeros((16, 24, 3), np.uint8)
    colours[:, :12], colours[:, 12:] = (200, 40, 90), (10, 220, 60)
    Image.fromarray(colours).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    with Image.open(tmp_path / "a.jpg") as image:
        truth = np.asarray(image.convert("RGB"))
    volume = read_volume(tmp_path / "a.jpg")
    np.testing.assert_array_equal(volume.array[0], truth)
    assert np.abs(truth.astype(int) - colours).max() < 12
