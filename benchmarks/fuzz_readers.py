"""Mutated DICOM, NIfTI, NRRD and MetaImage files against every reader: nothing but our own errors may come out.

    python benchmarks/fuzz_readers.py [--start 0] [--stop 20000] [--workers 1] [--data ../shared/data] [--out out/fuzz]

Input number n is the same on every machine with the same seeds (a sound file, its own mutations from n). A worker
process reads it under a memory limit; the parent kills a worker that takes too long and starts another. A run goes on
where it was stopped; inputs that broke something are kept in OUT/failed. Exit code 1 when any input did.

Seeds are small files that this script writes itself, and with --data the small files of robustness/ there.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil

SECONDS = 30.0  # of the processor per input; a sound one takes some hundredths
WAIT = 4 * SECONDS  # on the clock: what waits for ever takes no processor time
MEMORY = 1536 << 20  # bytes of address space that an input may take on top of what the libraries have
LARGEST_SEED = 400_000  # bytes
COMPRESSED = (
    "mr_compressed_j2k",
    "mr_compressed_jpeg",
    "mr_compressed_jpegls",
    "mr_siemens_mosaic",
)  # one file of each
WORDS = (
    b"0",
    b"-1",
    b"1e400",
    b"nan",
    b"inf",
    b"",
    b"99999999999",
    b"4294967295",
    b"../../x",
    b"(1,2",
    b"\xff\xfe",
    b"0x",
)
NUMBERS = (0, 1, 2, 7, 127, 128, 255, 256, 32767, 32768, 65535, 2**31 - 1, 2**31, 2**32 - 1)
FLOATS = (0.0, -1.0, float("nan"), float("inf"), 1e-40, 1e38, -0.0)


@dataclass(frozen=True)
class Seed:
    """Sound files of one image: names and contents; the first one is mutated. ``header`` bytes are hit more often."""

    name: str
    files: tuple[tuple[str, bytes], ...]
    header: int


# --- seeds ----------------------------------------------------------------------------------------------------------


def seeds(data: Path | None) -> list[Seed]:
    """Return all seeds, in a fixed order."""
    with tempfile.TemporaryDirectory() as folder:
        found = [*_own_files(Path(folder)), *_own_dicom(Path(folder))]
    if data is not None:
        root = data / "robustness"
        paths = sorted(p for part in ("dicom_single", "volumes", "seg_labelmap") for p in (root / part).iterdir())
        paths = [path for path in paths if path.is_file() and path.stat().st_size <= LARGEST_SEED]
        paths += [min((root / part).iterdir()) for part in COMPRESSED]
        found += [Seed(path.name, ((path.name, path.read_bytes()),), 2048) for path in paths]
    return found


def _own_files(folder: Path) -> Iterator[Seed]:
    import gzip

    from promptseg.io import write_labelmap, write_volume
    from promptseg.volume import Geometry, Labelmap, Volume

    turned = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)
    geometry = Geometry((4, 9, 7), (0.7, 1.1, 3.0), (-5.0, 12.5, 40.0), turned)
    array = np.arange(4 * 9 * 7, dtype=np.int16).reshape(4, 9, 7)
    volume = Volume.from_array(array, geometry)
    masks = Labelmap((array % 3).astype(np.uint8), geometry)
    for name in ("a.nii", "a.nrrd", "a.mha", "a.mhd", "a.tif"):
        written = write_volume(volume, folder / name)
        yield Seed(name, _contents(written, folder / name), 352)
    for name in ("m.nii", "m.seg.nrrd"):
        written = write_labelmap(masks, folder / name)
        yield Seed(name, _contents(written, folder / name), 600)
    nifti = (folder / "a.nii").read_bytes()
    yield Seed("a.nii.gz", (("a.nii.gz", gzip.compress(nifti, mtime=0)),), 40)
    pair = bytearray(nifti[:348])
    pair[344:348], pair[108:112] = b"ni1\0", struct.pack("<f", 0.0)
    yield Seed("p.hdr", (("p.hdr", bytes(pair)), ("p.img", nifti[352:])), 348)
    yield Seed("big.nii", (("big.nii", _swapped(nifti)),), 352)


def _contents(written: tuple[Path, ...], first: Path) -> tuple[tuple[str, bytes], ...]:
    return tuple((p.name, p.read_bytes()) for p in sorted(written, key=lambda p: p != first))


def _swapped(nifti: bytes) -> bytes:
    import nibabel as nib

    image = nib.Nifti1Image.from_bytes(nifti)
    header = image.header.as_byteswapped(">")
    return nib.Nifti1Image(np.asarray(image.dataobj).astype(">i2"), image.affine, header).to_bytes()


def _own_dicom(folder: Path) -> Iterator[Seed]:
    from promptseg.export import read_source, write_dicom_seg, write_rtstruct
    from promptseg.volume import Geometry, Labelmap

    geometry = Geometry((3, 11, 13), (0.7, 1.1, 3.0), (-5.0, 12.5, 40.0))
    place = folder / "series"
    place.mkdir()
    pixels = np.arange(3 * 11 * 13, dtype=np.int16).reshape(3, 11, 13)
    for z in range(3):
        _slice(pixels[z], z).save_as(place / f"{z}.dcm", enforce_file_format=True)
    files = tuple((f"s/{p.name}", p.read_bytes()) for p in sorted(place.iterdir()))
    yield Seed("series", files, 1400)
    for name in ("implicit", "rle", "mosaic"):
        dataset = _slice(np.concatenate(pixels[:2]) if name == "mosaic" else pixels[0], 0)
        if name == "rle":
            dataset.compress("1.2.840.10008.1.2.5")
        elif name == "implicit":
            dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
        else:
            _make_mosaic(dataset)
        dataset.save_as(folder / f"{name}.dcm", enforce_file_format=True)
        yield Seed(name, ((f"{name}.dcm", (folder / f"{name}.dcm").read_bytes()),), 1400)
    source = read_source(place)
    masks = Labelmap((pixels % 3).astype(np.uint8), geometry)
    for kind in ("binary", "labelmap"):
        path = write_dicom_seg(masks, folder / f"{kind}.dcm", source, kind=kind)
        yield Seed(f"seg-{kind}", ((path.name, path.read_bytes()),), 6000)
    path = write_rtstruct(masks, folder / "rtstruct.dcm", source)
    yield Seed("rtstruct", ((path.name, path.read_bytes()),), 4000)


def _slice(pixels: np.ndarray, z: int) -> Any:
    from pydicom.dataset import Dataset, FileMetaDataset

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.3680043.10.9.{z + 1}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.826.0.1.3680043.10.7", "1.2.826.0.1.3680043.10.8"
    dataset.FrameOfReferenceUID, dataset.Modality, dataset.InstanceNumber = "1.2.826.0.1.3680043.10.6", "CT", str(z + 1)
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [-5.0, 12.5, 40.0 + 3 * z], [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness = [1.1, 0.7], 3.0
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.WindowCenter, dataset.WindowWidth = 1, -1000, 40, 400
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.PixelData = pixels.tobytes()
    return dataset


def _make_mosaic(dataset: Any) -> None:
    """Turn a picture into four tiles, of which three count, with the private header that says so."""
    dataset.ImageType, dataset.SpacingBetweenSlices = ["ORIGINAL", "PRIMARY", "MOSAIC"], 3.0
    dataset.Columns, dataset.PixelData = 12, dataset.PixelData[: 22 * 12 * 2]
    fields = {b"NumberOfImagesInMosaic": [b"3"], b"SliceNormalVector": [b"0", b"0", b"1"]}
    header = b"SV10\4\3\2\1" + struct.pack("<2I", len(fields), 77)
    for name, values in fields.items():
        header += struct.pack("<64si4s3i", name, len(values), b"FD", 4, len(values), 77)
        header += b"".join(struct.pack("<4i4s", 2, 2, 77, 2, value) for value in values)
    dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", header)


# --- mutations ------------------------------------------------------------------------------------------------------


def mutated(seed: Seed, number: int) -> bytes:
    """Return the seed's first file, changed in one to six ways (mostly one or two) that depend on the number alone."""
    rng = np.random.default_rng(number)
    data = bytearray(seed.files[0][1])
    for _ in range(min(6, int(rng.geometric(0.5)))):
        _change(data, rng, min(seed.header, len(data)))
    return bytes(data)


def _change(data: bytearray, rng: np.random.Generator, header: int) -> None:
    if len(data) < 16:
        return
    reach = header if header > 16 and rng.random() < 0.85 else len(data)
    at = int(rng.integers(0, min(reach, len(data)) - 8))
    kind = int(rng.integers(9))
    if kind == 0:
        data[at] = int(rng.integers(256))
    elif kind == 1:
        data[at] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        form = ("<H", ">H", "<I", ">I")[int(rng.integers(4))]
        value = NUMBERS[int(rng.integers(len(NUMBERS)))] % (1 << 8 * struct.calcsize(form))
        data[at : at + struct.calcsize(form)] = struct.pack(form, value)
    elif kind == 3:
        form = ("<f", ">f")[int(rng.integers(2))]
        data[at : at + 4] = struct.pack(form, FLOATS[int(rng.integers(len(FLOATS)))])
    elif kind == 4:
        del data[at : at + int(rng.integers(1, 32))]
    elif kind == 5:
        data[at:at] = bytes(data[at : at + int(rng.integers(1, 64))])
    elif kind == 6 and rng.random() < 0.3:
        del data[int(rng.integers(8, len(data))) :]
    elif kind == 7:
        other = int(rng.integers(0, len(data) - 8))
        count = int(rng.integers(1, 24))
        data[at : at + count] = data[other : other + count]
    else:
        _replace_word(data, rng, header)


def _replace_word(data: bytearray, rng: np.random.Generator, header: int) -> None:
    """Put another word in place of a run of printable bytes: text headers, and DICOM's decimal strings."""
    starts = [
        i for i in range(min(header, len(data))) if 33 <= data[i] < 127 and (i == 0 or not 33 <= data[i - 1] < 127)
    ]
    if not starts:
        return
    at = starts[int(rng.integers(len(starts)))]
    stop = at
    while stop < len(data) and 33 <= data[stop] < 127:
        stop += 1
    word = WORDS[int(rng.integers(len(WORDS)))]
    if rng.random() < 0.5:  # of the same length: lengths in binary headers stay true
        word = word[: stop - at].ljust(stop - at)
    data[at:stop] = word


# --- the worker -----------------------------------------------------------------------------------------------------


def read_all(path: Path) -> str:
    """Read a file in every way; return how it went: "read" or "refused".

    Raises:
        Exception: what no reader may raise.
    """
    from promptseg.errors import PromptsegError
    from promptseg.export import ImportOptions, read_segmentation
    from promptseg.export.read import is_dicom_mask
    from promptseg.io import read_labelmap, read_volume
    from promptseg.io.selfcheck import check_path
    from promptseg.volume import Geometry

    outcome = "refused"
    doors = [lambda: read_volume(path), lambda: check_path(path)]
    if path.is_file():
        doors.append(lambda: read_labelmap(path))
        if is_dicom_mask(path):
            grid = ImportOptions(Geometry((3, 11, 13), (0.7, 1.1, 3.0), (-5.0, 12.5, 40.0)))
            doors += [lambda: read_segmentation(path), lambda: read_segmentation(path, grid)]
    for number, door in enumerate(doors):
        try:
            door()
            outcome = "read" if number == 0 else outcome
        except PromptsegError as exc:
            if "\n" in str(exc):
                raise ValueError(f"an error of several lines: {exc!r}") from exc
    return outcome


def try_input(seed: Seed, number: int, folder: Path) -> tuple[str, str]:
    """Return ("read" | "refused" | "crash", what happened) for one input."""
    shutil.rmtree(folder, ignore_errors=True)
    first, *others = seed.files
    for name, content in ((first[0], mutated(seed, number)), *others):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    target = (folder / first[0]).parent if "/" in first[0] else folder / first[0]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return read_all(target), ""
    except BaseException:  # noqa: BLE001 - this is what the run is for
        return "crash", traceback.format_exc(limit=-6)


def _work(connection: Any, data: Path | None) -> None:
    """Answer input numbers until None comes."""
    from promptseg.io import read_volume  # noqa: F401 - load the libraries before memory is limited

    faulthandler.enable()  # a process that dies says where
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    known = seeds(data)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
    memory = Path("/dev/shm")  # files in memory, where the system has that: ten times faster than a disk
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        while (number := connection.recv()) is not None:
            answer = try_input(known[number % len(known)], number, Path(folder) / "in")
            connection.send((*answer, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))


# --- the run --------------------------------------------------------------------------------------------------------


class Worker:
    """A process with the pipe to it and the input that it works on."""

    def __init__(self, data: Path | None) -> None:
        context = get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_work, args=(other, data), daemon=True)
        self.process.start()
        other.close()
        self.number: int | None = None
        self.since = self.used = 0.0

    def give(self, number: int) -> None:
        """Start an input."""
        self.number, self.since, self.used = number, time.monotonic(), self._processor()
        self.connection.send(number)

    def answer(self, first: bool) -> tuple[str, str, int] | None:
        """Return the outcome, None while there is none yet. A dead or slow process gives "died" or "hang"."""
        try:
            if self.connection.poll(0.02):
                return self.connection.recv()  # type: ignore[no-any-return]
        except (EOFError, ConnectionError):
            self.process.join()
            return "died", f"the process ended with {self.process.exitcode}", 0
        waited = time.monotonic() - self.since - (60 if first else 0)
        if waited > WAIT or (waited > SECONDS and self._processor() - self.used > SECONDS + (60 if first else 0)):
            self.process.kill()
            self.process.join()
            return "hang", f"no answer after {waited:.0f} s", 0
        return None

    def _processor(self) -> float:
        """Return the seconds of processor time that the process took so far."""
        try:
            times = psutil.Process(self.process.pid).cpu_times()
        except psutil.NoSuchProcess:
            return 0.0
        return float(times.user + times.system)


@dataclass
class Tally:
    """What came out so far; kept in OUT/state.json."""

    next: int
    counts: Counter[str]
    slowest: float = 0.0
    peak_mb: int = 0


def run(start: int, stop: int, workers: int, out: Path, data: Path | None) -> Tally:
    """Try inputs ``start`` to ``stop``; return what came out, over this run and those before it in the same folder."""
    out.mkdir(parents=True, exist_ok=True)
    tally = _load(out, start)
    known = seeds(data)
    pool = [Worker(data) for _ in range(workers)]
    fresh = {id(worker) for worker in pool}
    while tally.next < stop or any(worker.number is not None for worker in pool):
        for place, worker in enumerate(pool):
            if worker.number is None:
                if tally.next < stop:
                    worker.give(tally.next)
                    tally.next += 1
                continue
            found = worker.answer(id(worker) in fresh)
            if found is None:
                continue
            outcome, said, peak = found
            seconds = time.monotonic() - worker.since
            if id(worker) not in fresh:
                tally.slowest = max(tally.slowest, seconds)
            fresh.discard(id(worker))
            tally.counts[outcome] += 1
            tally.peak_mb = max(tally.peak_mb, peak >> 10)
            if outcome not in ("read", "refused"):
                _keep(out, known[worker.number % len(known)], worker.number, outcome, said)
            worker.number = None
            if outcome in ("died", "hang"):
                pool[place] = Worker(data)
                fresh.add(id(pool[place]))
            if sum(tally.counts.values()) % 100 == 0:
                _store(out, tally, pool)
    for worker in pool:
        worker.connection.send(None)
        worker.process.join(10)
    _store(out, tally, pool)
    return tally


def _load(out: Path, start: int) -> Tally:
    state = out / "state.json"
    if not state.exists():
        return Tally(start, Counter())
    known = json.loads(state.read_text())
    return Tally(known["next"], Counter(known["counts"]), known["slowest"], known["peak_mb"])


def _store(out: Path, tally: Tally, pool: list[Worker]) -> None:
    """Write the state as if inputs under way had not begun (they are few, and are tried again)."""
    open_numbers = [worker.number for worker in pool if worker.number is not None]
    state = {**vars(tally), "next": min([tally.next, *open_numbers]), "counts": dict(tally.counts)}
    (out / "state.tmp").write_text(json.dumps(state))
    (out / "state.tmp").replace(out / "state.json")


def _keep(out: Path, seed: Seed, number: int, outcome: str, said: str) -> None:
    folder = out / "failed"
    folder.mkdir(exist_ok=True)
    (folder / f"{number:06d}-{seed.name}").write_bytes(mutated(seed, number))
    (folder / f"{number:06d}.txt").write_text(f"{outcome} {seed.name}\n{said}\n")
    print(f"{outcome} at input {number} ({seed.name}): {said.strip().splitlines()[-1] if said else ''}", flush=True)


def main() -> int:
    """Parse, run, print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--stop", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("out/fuzz"))
    given = parser.parse_args()
    started = time.monotonic()
    tally = run(given.start, given.stop, given.workers, given.out, given.data)
    bad = sum(tally.counts.values()) - tally.counts["read"] - tally.counts["refused"]
    print(
        f"{sum(tally.counts.values())} inputs: {tally.counts['read']} read, {tally.counts['refused']} refused with a "
        f"sentence, {bad} other; slowest {tally.slowest:.1f} s, at most {tally.peak_mb} MB; "
        f"{time.monotonic() - started:.0f} s this time"
    )
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
