"""The sound files that ``fuzz_readers.py`` mutates: small ones of every kind that is read."""

from __future__ import annotations

import bz2
import gzip
import io
import struct
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_dicom import dicom_seeds
from fuzz_inputs import Seed

__all__ = ["seeds"]

LARGEST_SEED = 400_000  # bytes
COMPRESSED = (
    "mr_compressed_j2k",
    "mr_compressed_jpeg",
    "mr_compressed_jpegls",
    "mr_siemens_mosaic",
)  # one file of each
TURNED = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)
SPACING, ORIGIN = (0.7, 1.1, 3.0), (-5.0, 12.5, 40.0)
VALUES = np.arange(4 * 9 * 7, dtype=np.int16).reshape(4, 9, 7)
SUFFIXES = {".nii": "NIfTI", ".gz": "NIfTI", ".hdr": "NIfTI", ".img": "NIfTI", ".mgz": "MGH", ".mha": "MetaImage",
            ".nrrd": "NRRD"}  # fmt: skip


def seeds(data: Path | None) -> list[Seed]:
    """Return all seeds, in a fixed order."""
    with tempfile.TemporaryDirectory() as folder:
        found = [
            *_written(Path(folder)),
            *_nifti(),
            *_text_headers(),
            *_tiff(),
            *_pictures(),
            *dicom_seeds(Path(folder)),
        ]
    if data is not None:
        root = data / "robustness"
        paths = sorted(p for part in ("dicom_single", "volumes", "seg_labelmap") for p in (root / part).iterdir())
        paths = [path for path in paths if path.is_file() and path.stat().st_size <= LARGEST_SEED]
        paths += [min((root / part).iterdir()) for part in COMPRESSED]
        found += [
            Seed(path.name, SUFFIXES.get(path.suffix, "DICOM"), ((path.name, path.read_bytes()),), 2048)
            for path in paths
        ]
    return found


# --- what promptseg writes itself -----------------------------------------------------------------------------------


def _written(folder: Path) -> Iterator[Seed]:
    from promptseg.io import write_labelmap, write_volume
    from promptseg.volume import Geometry, Labelmap, Volume

    geometry = Geometry(VALUES.shape, SPACING, ORIGIN, TURNED)
    volume = Volume.from_array(VALUES, geometry)
    masks = Labelmap((VALUES % 3).astype(np.uint8), geometry)
    formats = {"a.nrrd": "NRRD", "a.mha": "MetaImage", "a.mhd": "MetaImage", "a.tif": "TIFF"}
    for name, kind in formats.items():
        written = write_volume(volume, folder / name)
        yield Seed(name, kind, _contents(written, folder / name), 352)
    for name, kind in {"m.nii": "NIfTI", "m.seg.nrrd": "NRRD"}.items():
        written = write_labelmap(masks, folder / name)
        yield Seed(name, kind, _contents(written, folder / name), 600)


def _contents(written: tuple[Path, ...], first: Path) -> tuple[tuple[str, bytes], ...]:
    return tuple((p.name, p.read_bytes()) for p in sorted(written, key=lambda p: p != first))


# --- binary headers: NIfTI, MGH, GIPL -------------------------------------------------------------------------------


def _nifti() -> Iterator[Seed]:
    import nibabel as nib

    affine = np.eye(4)
    affine[:3, :3] = np.reshape(TURNED, (3, 3)) * SPACING
    affine[:3, 3] = ORIGIN
    values = VALUES.T.copy()
    plain = nib.Nifti1Image(values, affine)
    plain.set_qform(affine, 1)
    plain.set_sform(affine, 1)
    scaled = nib.Nifti1Image(values, affine)
    scaled.header.set_slope_inter(0.25, -3.0)
    scaled.header.set_xyzt_units("micron")
    frames = nib.Nifti1Image(np.stack([values, values + 1000], axis=3), affine)
    colours = np.stack([values, values + 1, values + 2], axis=3).astype(np.uint8)
    rgb = nib.Nifti1Image(colours.view([(name, "u1") for name in "RGB"])[..., 0], affine)
    big = nib.Nifti1Image(values.astype(">i2"), affine, plain.header.as_byteswapped(">"))
    made = {"a.nii": plain, "s.nii": scaled, "t.nii": frames, "c.nii": rgb, "big.nii": big}
    for name, image in made.items():
        yield Seed(name, "NIfTI", ((name, image.to_bytes()),), 352)
    yield Seed("a.nii.gz", "NIfTI", (("a.nii.gz", plain.to_bytes()),), 352, "gzip")
    two = nib.Nifti2Image(values.astype(np.float32), affine).to_bytes()
    yield Seed("two.nii", "NIfTI", (("two.nii", two),), 544)
    pair = bytearray(plain.to_bytes()[:348])
    pair[344:348], pair[108:112] = b"ni1\0", struct.pack("<f", 0.0)
    voxels = (("p.img", VALUES.tobytes()),)
    yield Seed("p.hdr", "NIfTI", (("p.hdr", bytes(pair)), *voxels), 348)
    yield Seed("z.hdr", "NIfTI", (("z.hdr", bytes(pair[:344]) + b"\0" * 4), ("z.img", VALUES.tobytes())), 348)
    for name, kind in {"a.mgh": np.int16, "f.mgh": np.float32}.items():
        content = nib.MGHImage(values.astype(kind), affine).to_bytes()
        yield Seed(name, "MGH", ((name, content),), 90)
        yield Seed(f"{name}.z", "MGH", ((name[0] + ".mgz", content),), 90, "gzip")
    for name, order in {"a.gipl": ">", "little.gipl": "<"}.items():
        yield Seed(name, "GIPL", ((name, _gipl(order)),), 256)
    yield Seed("a.gipl.gz", "GIPL", (("a.gipl.gz", _gipl(">")),), 256, "gzip")


def _gipl(order: str) -> bytes:
    head = bytearray(256)
    struct.pack_into(f"{order}5H4f", head, 0, *VALUES.shape[::-1], 1, 15, *SPACING, 1.0)
    struct.pack_into(f"{order}4d", head, 204, *ORIGIN, 0.0)
    struct.pack_into(f"{order}I", head, 252, 719555000)
    return bytes(head) + VALUES.astype(f"{order}i2").tobytes()


# --- text headers: NRRD, MetaImage ----------------------------------------------------------------------------------


def _text_headers() -> Iterator[Seed]:
    raw, words = VALUES.tobytes(), b" ".join(b"%d" % value for value in VALUES.ravel())
    for encoding, content in {"gzip": gzip.compress(raw, mtime=0), "bzip2": bz2.compress(raw), "ascii": words,
                              "hex": raw.hex().encode(), "raw": raw}.items():  # fmt: skip
        name = f"{encoding}.nrrd"
        yield Seed(name, "NRRD", ((name, _nrrd(encoding) + content),), 400)
    big = _nrrd("raw").replace(b"little", b"big") + VALUES.astype(">i2").tobytes()
    yield Seed("big.nrrd", "NRRD", (("big.nrrd", big),), 400)
    listed = _nrrd("raw")[:-1] + b"data file: LIST\n" + b"".join(b"%d.raw\n" % z for z in range(4))
    slices = tuple((f"{z}.raw", VALUES[z].tobytes()) for z in range(4))
    yield Seed("list.nhdr", "NRRD", (("list.nhdr", listed), *slices), 500)
    numbered = _nrrd("raw")[:-1] + b"byte skip: -1\ndata file: %d.raw 0 3 1\n"
    padded = tuple((name, b"header" + content) for name, content in slices)
    yield Seed("numbered.nhdr", "NRRD", (("numbered.nhdr", numbered), *padded), 500)
    sequence = _nrrd("raw").replace(b"dimension: 3", b"dimension: 4").replace(b"sizes: ", b"sizes: 2 ")
    sequence = sequence.replace(b"directions: ", b"directions: none ").replace(b"kinds: ", b"kinds: list ")
    frames = np.stack([VALUES, VALUES + 1000], axis=3)
    yield Seed("seq.nrrd", "NRRD", (("seq.nrrd", sequence + frames.tobytes()),), 400)
    yield Seed("zlib.mha", "MetaImage", (("zlib.mha", _meta("LOCAL", CompressedData=True) + zlib.compress(raw)),), 400)
    yield Seed("text.mha", "MetaImage", (("text.mha", _meta("LOCAL", BinaryData=False) + words),), 400)
    msb = _meta("LOCAL", ElementByteOrderMSB=True) + VALUES.astype(">i2").tobytes()
    yield Seed("msb.mha", "MetaImage", (("msb.mha", msb),), 400)
    lines = _meta("LIST") + b"".join(b"%d.raw\n" % z for z in range(4))
    yield Seed("list.mhd", "MetaImage", (("list.mhd", lines), *slices), 500)
    yield Seed("pattern.mhd", "MetaImage", (("pattern.mhd", _meta("%d.raw 0 3 1", HeaderSize=-1)), *padded), 500)


def _nrrd(encoding: str) -> bytes:
    axes = (np.reshape(TURNED, (3, 3)) * SPACING).T
    directions = " ".join("(" + ",".join(f"{value:.17g}" for value in axis) + ")" for axis in axes)
    lines = ("NRRD0004", "type: short", "dimension: 3", "space: left-posterior-superior", "sizes: 7 9 4",
             f"space directions: {directions}", "kinds: domain domain domain", "endian: little",
             f"encoding: {encoding}", f"space origin: ({','.join(map(str, ORIGIN))})", "", "")  # fmt: skip
    return "\n".join(lines).encode()


def _meta(data: str, **fields: object) -> bytes:
    axes = " ".join(f"{value:.17g}" for value in np.reshape(TURNED, (3, 3)).T.ravel())
    header = {"ObjectType": "Image", "NDims": 3, "BinaryData": True, "BinaryDataByteOrderMSB": False,
              "TransformMatrix": axes, "Offset": "-5 12.5 40", "ElementSpacing": "0.7 1.1 3", "DimSize": "7 9 4",
              **fields, "ElementType": "MET_SHORT", "ElementDataFile": data}  # fmt: skip
    return "".join(f"{key} = {value}\n" for key, value in header.items()).encode()


# --- TIFF, PNG, JPEG ------------------------------------------------------------------------------------------------


def _tiff() -> Iterator[Seed]:
    import tifffile

    grey, colours = VALUES.astype(np.uint16), np.repeat(VALUES[..., None], 3, axis=3).astype(np.uint8)
    colours[..., 1] += 40
    wide = np.arange(40 * 36, dtype=np.uint16).reshape(40, 36)
    kinds: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
        "imagej": (grey, {"imagej": True, "resolution": (2.0, 2.0), "metadata": {"axes": "ZYX", "spacing": 3.0}}),
        "ome": (grey, {"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 0.7, "PhysicalSizeY": 1.1}}),
        "big": (grey[0], {"byteorder": ">"}),
        "bigtiff": (grey[0], {"bigtiff": True}),
        "tiled": (wide, {"tile": (16, 16)}),
        "deflate": (wide, {"compression": "zlib", "predictor": True, "rowsperstrip": 7}),
        "lzw": (wide, {"compression": "lzw", "rowsperstrip": 9}),
        "packbits": (wide.astype(np.uint8), {"compression": "packbits", "rowsperstrip": 9}),
        "rgb": (colours[0], {"photometric": "rgb"}),
        "planar": (np.moveaxis(colours[0], -1, 0), {"photometric": "rgb", "planarconfig": "separate"}),
        "float": (VALUES[0].astype(np.float32), {}),
        "white": (grey[0].astype(np.uint8), {"photometric": "miniswhite"}),
    }
    for name, (array, options) in kinds.items():
        file = io.BytesIO()
        tifffile.imwrite(file, array, **options)
        yield Seed(f"{name}.tif", "TIFF", ((f"{name}.tif", file.getvalue()),), 600)


def _pictures() -> Iterator[Seed]:
    from PIL import Image

    grey = np.arange(13 * 11, dtype=np.uint8).reshape(13, 11)
    colours = np.stack([grey, grey[::-1], grey // 2], axis=-1)
    indices = Image.fromarray(grey % 4).convert("P")
    indices.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200, 9, 9, 9])
    pictures = {
        "grey": Image.fromarray(grey),
        "deep": Image.fromarray(grey.astype(np.uint16) * 257),
        "rgb": Image.fromarray(colours),
        "alpha": Image.fromarray(np.stack([grey, 255 - grey], axis=-1), "LA"),
        "palette": indices,
        "bits": Image.fromarray(grey % 2 == 0),
    }
    for name, picture in pictures.items():
        file = io.BytesIO()
        picture.save(file, "PNG")
        yield Seed(f"{name}.png", "PNG", ((f"{name}.png", file.getvalue()),), 120, "png")
    for name in ("grey", "rgb"):
        file = io.BytesIO()
        pictures[name].save(file, "JPEG", quality=95, subsampling=0)
        yield Seed(f"{name}.jpg", "JPEG", ((f"{name}.jpg", file.getvalue()),), 700)
