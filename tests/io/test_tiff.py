"""TIFF against tifffile and Pillow: pixel types, tiles, colours, channels and times, sizes, damage."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from promptseg.errors import ReadError
from promptseg.io import read_labelmap, read_volume

SHAPE = (3, 40, 56)
LAYOUTS: dict[str, dict[str, Any]] = {
    "strips": {"rowsperstrip": 7},
    "tiles": {"tile": (16, 32)},
    "deflate": {"compression": "zlib", "predictor": True},
    "lzw": {"compression": "lzw"},
    "deflate-tiles": {"compression": "zlib", "tile": (32, 16)},
    "big-endian": {"byteorder": ">"},
    "bigtiff": {"bigtiff": True},
}


def _lettered(dtype: str) -> NDArray[Any]:
    values = (np.arange(np.prod(SHAPE)) * 7919 % 4001 - 1024).reshape(SHAPE)
    return (values + 1024 if dtype[0] == "u" else values).astype(dtype)


def codes(volume: Any) -> list[str]:
    return [finding.code for finding in volume.findings]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64"]
)
def test_every_type_in_every_layout(dtype: str, layout: str, tmp_path: Path) -> None:
    array = _lettered(dtype)
    options = dict(LAYOUTS[layout])
    if dtype in ("float16", "float64", "float32"):
        options.pop("predictor", None)
    byteorder, big = options.pop("byteorder", None), options.pop("bigtiff", None)
    with tifffile.TiffWriter(tmp_path / "a.tif", byteorder=byteorder, bigtiff=big) as file:
        for page in array:
            file.write(page, metadata=None, contiguous=False, photometric="minisblack", **options)
    volume = read_volume(tmp_path / "a.tif")
    np.testing.assert_array_equal(volume.array, array)
    assert volume.array.dtype == (np.float32 if dtype == "float16" else np.dtype(dtype))
    assert codes(volume) == ["no-geometry"]


@pytest.mark.parametrize(
    ("axes", "shape", "told"),
    [
        ("ZYX", SHAPE, ""),
        ("ZCYX", (3, 2, 40, 56), "2 channels"),
        ("TZYX", (2, 3, 40, 56), "2 times"),
        ("TZCYX", (2, 3, 4, 40, 56), "2 times x 4 channels"),
        ("CYX", SHAPE, "3 channels"),
        ("TYX", SHAPE, "3 times"),
    ],
)
@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_channels_and_times_are_no_slices(
    kind: str, axes: str, shape: tuple[int, ...], told: str, tmp_path: Path
) -> None:
    array = (np.arange(np.prod(shape)) % 60_000).reshape(shape).astype(np.uint16)
    options: dict[str, Any] = {"imagej": True} if kind == "imagej" else {"ome": True}
    tifffile.imwrite(tmp_path / "a.tif", array, metadata={"axes": axes}, photometric="minisblack", **options)
    frames = [i for i, axis in enumerate(axes) if axis in "TC"]
    moved = np.moveaxis(array, frames, range(len(frames))).reshape(
        -1, *(n for a, n in zip(axes, shape, strict=True) if a not in "TC")
    )
    for index, truth in enumerate(moved):
        volume = read_volume(tmp_path / "a.tif", frame=index)
        np.testing.assert_array_equal(volume.array, truth if truth.ndim == 3 else truth[None])
    said = [str(finding) for finding in read_volume(tmp_path / "a.tif").findings if finding.code == "several-frames"]
    assert bool(said) is bool(told)
    assert all(f"({told})" in sentence for sentence in said)


@pytest.mark.parametrize(
    ("unit", "factor"), [("mm", 1.0), ("um", 1e-3), ("micron", 1e-3), ("\\u00B5m", 1e-3), ("cm", 10.0), ("inch", 25.4)]
)
def test_the_size_that_imagej_states(unit: str, factor: float, tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", _lettered("uint8"), imagej=True, resolution=(1 / 80, 1 / 90),
        metadata={"axes": "ZYX", "spacing": 300.0, "unit": unit},
    )  # fmt: skip
    volume = read_volume(tmp_path / "a.tif")
    assert volume.geometry.spacing == pytest.approx((80 * factor, 90 * factor, 300 * factor), rel=1e-4)
    assert "no-geometry" not in codes(volume)


def test_the_size_that_ome_states(tmp_path: Path) -> None:
    metadata = {"axes": "ZYX", "PhysicalSizeX": 80.0, "PhysicalSizeY": 0.09, "PhysicalSizeYUnit": "mm"}
    tifffile.imwrite(tmp_path / "a.ome.tif", _lettered("uint8"), ome=True, metadata=metadata)
    volume = read_volume(tmp_path / "a.ome.tif")
    assert volume.geometry.spacing == pytest.approx((0.08, 0.09, 1.0))  # X in micrometres, the default
    assert codes(volume) == ["assumed-thickness"]
    metadata |= {"PhysicalSizeZ": 200.0}
    tifffile.imwrite(tmp_path / "a.ome.tif", _lettered("uint8"), ome=True, metadata=metadata)
    assert read_volume(tmp_path / "a.ome.tif").geometry.spacing == pytest.approx((0.08, 0.09, 0.2))


def test_pixels_in_a_unit_that_is_none(tmp_path: Path) -> None:
    options: dict[str, Any] = {"imagej": True, "resolution": (3.0, 3.0)}
    tifffile.imwrite(tmp_path / "a.tif", _lettered("uint8"), metadata={"axes": "ZYX", "unit": "pixel"}, **options)
    assert codes(read_volume(tmp_path / "a.tif")) == ["no-geometry"]


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_colours(planar: str, tile: Any, tmp_path: Path) -> None:
    colours = np.random.default_rng(1).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    stored = colours if planar == "contig" else np.moveaxis(colours, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar, tile=tile, metadata=None)
    np.testing.assert_array_equal(read_volume(tmp_path / "a.tif").array[0], colours)


def test_cmyk_as_pillow_converts_it(tmp_path: Path) -> None:
    ink = np.random.default_rng(2).integers(0, 256, (40, 56, 4), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", ink, photometric="separated", metadata=None)
    with Image.open(tmp_path / "a.tif") as image:
        truth = np.asarray(image.convert("RGB"))
    volume = read_volume(tmp_path / "a.tif")
    assert np.abs(volume.array[0].astype(int) - truth).max() <= 1
    assert "colours-converted" in codes(volume)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_low_values_that_are_white(dtype: str, tmp_path: Path) -> None:
    array = _lettered(dtype)[0]
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="miniswhite", metadata=None)
    volume = read_volume(tmp_path / "a.tif")
    np.testing.assert_array_equal(volume.array[0], np.iinfo(dtype).max - array)
    assert "inverted" in codes(volume)


def test_the_palette_of_a_label_map(tmp_path: Path) -> None:
    labels = np.random.default_rng(3).integers(0, 4, (40, 56), dtype=np.uint8)
    palette = np.zeros((3, 256), np.uint16)
    palette[:, 1:4] = np.array([[255, 0, 20], [0, 200, 30], [7, 9, 255]]).T[..., :] * 257
    tifffile.imwrite(tmp_path / "a.tif", labels, photometric="palette", colormap=palette, metadata=None)
    read = read_labelmap(tmp_path / "a.tif")
    np.testing.assert_array_equal(read.array[0], labels)
    assert [read.labels[value].color for value in (1, 2, 3)] == [(255, 0, 20), (0, 200, 30), (7, 9, 255)]
    np.testing.assert_array_equal(read_volume(tmp_path / "a.tif").array[0], (palette.T[labels] >> 8).astype(np.uint8))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["tif", "jpg", "png"])
def test_upright_as_pillow_turns_it(orientation: int, kind: str, tmp_path: Path) -> None:
    from PIL import ImageOps

    array = np.zeros((40, 56), np.uint8)
    array[3:20, 5:11], array[10:14, 5:40] = 200, 120  # looks different from every side
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(array).save(tmp_path / f"a.{kind}", exif=exif, **({"quality": 95} if kind == "jpg" else {}))
    shown = Image.fromarray(array)  # not from the file: Pillow 12 turns some TIFFs once, some twice
    shown.getexif()[274] = orientation
    truth = np.asarray(ImageOps.exif_transpose(shown))
    volume = read_volume(tmp_path / f"a.{kind}")
    assert volume.array[0].shape == truth.shape
    assert np.abs(volume.array[0].astype(int) - truth).mean() <= (2 if kind == "jpg" else 0)
    assert ("turned" in codes(volume)) is (orientation > 1)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_a_part_that_unpacks_to_too_few_bytes(compression: Any, tile: Any, tmp_path: Path) -> None:
    """tifffile and libtiff fill the rest with zeros."""
    array = _lettered("uint16")[0]
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, array, compression=compression, tile=tile, metadata=None, rowsperstrip=None if tile else 8)
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        tag = page.tags[325 if tile else 279]
        lengths = list(tag.value)
    lengths[1] = lengths[0] // 3
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.tags[325 if tile else 279].overwrite(lengths)
    with pytest.raises(ReadError, match=r"damaged|cut short"):
        read_volume(path)


def test_numbers_that_are_no_picture(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((40, 56), np.complex64), metadata=None)
    with pytest.raises(ReadError, match="complex64"):
        read_volume(tmp_path / "a.tif")


def test_a_codec_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from promptseg.io import tiff_image

    array = _lettered("uint16")
    monkeypatch.setattr(tiff_image, "_decodes", lambda page: False)
    layouts: dict[str, dict[str, Any]] = {"strips": {}, "tiles": {"tile": (16, 16)}}
    for name, options in layouts.items():
        options |= {"compression": "lzw", "metadata": None, "photometric": "minisblack"}
        tifffile.imwrite(tmp_path / f"{name}.tif", array, **options)
    np.testing.assert_array_equal(read_volume(tmp_path / "strips.tif").array, array)  # ITK's own LZW
    with pytest.raises(ReadError, match="compressed with LZW, which needs one more package: pip install imagecodecs"):
        read_volume(tmp_path / "tiles.tif")


TAG_FORM = "<2H2I"  # number, type, count, value


def _with_tag(path: Path, tag: int, **change: int) -> None:
    """Change number, kind, count or value of a tag of the first page (little-endian, up to four bytes)."""
    data = bytearray(path.read_bytes())
    (start,) = struct.unpack_from("<I", data, 4)
    for at in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", data, start)[0], 12):
        entry = dict(zip(("number", "kind", "count", "value"), struct.unpack_from(TAG_FORM, data, at), strict=True))
        if entry["number"] == tag:
            struct.pack_into(TAG_FORM, data, at, *(entry | change).values())
    path.write_bytes(data)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_more_rows_than_there_are_strips(planar: Any, tmp_path: Path) -> None:
    """Zeros would stand for what is not there: some bytes become gigabytes."""
    colours = np.moveaxis(np.stack([_lettered("uint8")[0]] * 3, -1), -1, 0 if planar == "separate" else -1)
    tifffile.imwrite(tmp_path / "a.tif", colours, photometric="rgb", planarconfig=planar, metadata=None)
    _with_tag(tmp_path / "a.tif", 257, value=33_554_441)
    with pytest.raises(ReadError, match=r"promises .* parts .* and lists"):
        read_volume(tmp_path / "a.tif")


def test_it_is_not_said_what_low_means(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", _lettered("uint8")[0], metadata=None)
    _with_tag(tmp_path / "a.tif", 262, number=263)
    volume = read_volume(tmp_path / "a.tif")
    np.testing.assert_array_equal(volume.array[0], _lettered("uint8")[0])
    assert "assumed-black" in codes(volume)


@pytest.mark.parametrize("tag", [257, 258, 262, 278, 339])
def test_a_tag_with_too_many_numbers(tag: int, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", _lettered("int16")[0], metadata=None)
    _with_tag(tmp_path / "a.tif", tag, count=2)
    with pytest.raises(ReadError, match="damaged"):
        read_volume(tmp_path / "a.tif")


@pytest.mark.parametrize(("tag", "value"), [(284, 32768), (284, 0), (339, 7)], ids=["layout", "no layout", "numbers"])
def test_a_layout_that_there_is_not(tag: int, value: int, tmp_path: Path) -> None:
    """Some readers take it for one that there is, and mix up rows and colours."""
    tifffile.imwrite(tmp_path / "a.tif", np.stack([_lettered("int16")[0]] * 3, -1), photometric="rgb", metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        file.pages[0].tags[tag].overwrite((value,) * file.pages[0].tags[tag].count)
    with pytest.raises(ReadError, match="damaged"):
        read_volume(tmp_path / "a.tif")
