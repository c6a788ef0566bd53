"""Does the wheel alone do what the README promises? Builds it, installs it into an empty environment, and follows.

    python packaging/try_wheel.py                     # builds from the checkout
    python packaging/try_wheel.py dist/promptseg-0.1.0-py3-none-any.whl

Installs by pip with the versions of constraints.txt, so a package index is needed. Prints seconds and sizes; the exit
code is not 0 where a step fails. ``tests/app/test_wheel.py`` asks the same beside packages that are here already.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

__all__ = ["answer", "free_port", "readme_commands", "write_series"]

ROOT = Path(__file__).resolve().parent.parent
START_S = 240.0  # for the app to answer, on a slow disk
LARGEST = 8  # packages whose size is printed
# Run by the wheel's own Python, in an empty folder: a DICOM series for the README's second line
SERIES = """
import sys; sys.path.insert(0, {here!r})
from try_wheel import write_series
write_series("dicom_folder")
"""


def readme_commands() -> list[str]:
    """Return the README's command lines."""
    return re.findall(
        r"^    (promptseg [^\n]*?)(?:  +#.*)?$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )


def write_series(folder: str | Path) -> None:
    """Write the example, twice as fine in its slices, as a CT series of DICOM files."""
    import numpy as np
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    from promptseg.example import example_volume

    volume = example_volume()
    study, series, frame = (generate_uid() for _ in range(3))
    spacing = volume.geometry.spacing
    axes = np.asarray(volume.geometry.direction).reshape(3, 3)
    Path(folder).mkdir()
    for z, pixels in enumerate(volume.array.astype(np.int16).repeat(2, axis=1).repeat(2, axis=2)):
        image = Dataset()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, generate_uid()
        image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = study, series, frame
        image.Modality, image.InstanceNumber = "CT", z + 1
        image.Rows, image.Columns = pixels.shape
        image.PixelSpacing = [spacing[1] / 2, spacing[0] / 2]
        image.SliceThickness = spacing[2]
        image.ImageOrientationPatient = [*axes[:, 0].tolist(), *axes[:, 1].tolist()]
        image.ImagePositionPatient = volume.geometry.voxel_to_world((z, 0, 0)).tolist()
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 1
        image.RescaleSlope, image.RescaleIntercept = 1, 0
        image.PixelData = pixels.tobytes()
        image.save_as(Path(folder) / f"{z:03}.dcm", enforce_file_format=True)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answer(url: str, process: subprocess.Popen[bytes]) -> bytes | None:
    """Return what an address answers with 200, once the process serves it; None: it ended, or never does."""
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=10) as found:
                return bytes(found.read())
        except urllib.error.HTTPError:
            return None
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    return None


def main() -> int:
    """Try it; return the number of steps that failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, nargs="?", help="built from the checkout without one")
    parser.add_argument("--extras", default="app", help="of the wheel; those of README without it")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="promptseg-wheel-") as name:
        folder = Path(name)
        wheel = asked.wheel.resolve() if asked.wheel else _built(folder)
        binaries = _installed(folder / "environment", wheel, asked.extras)
        work = folder / "work"
        work.mkdir()
        steps = [(line, _ran(line, binaries, work)) for line in _lines(binaries)]
        steps.append(("GET /", _served(binaries, work)))
        for line, said in steps:
            print(f"{'ok' if said is None else 'FAILED':7} {line}" + (f"\n{said}" if said else ""))
    return sum(said is not None for _, said in steps)


def _built(folder: Path) -> Path:
    subprocess.run([sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "-q", "-w", str(folder)], check=True)
    (wheel,) = folder.glob("promptseg-*.whl")
    return wheel


def _installed(place: Path, wheel: Path, extras: str) -> Path:
    """Install the wheel into an empty environment, print what it costs, and return the folder of its programs."""
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    python = place / "bin" / "python"
    for what in (str(wheel), f"{wheel}[{extras}]") if extras else (str(wheel),):
        started = time.perf_counter()
        command = [str(python), "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints.txt"), what]
        subprocess.run(command, check=True)
        sizes = dict(_sizes(next(place.glob("lib/python*/site-packages"))))
        largest = sorted(sizes, key=lambda name: -sizes[name])[:LARGEST]
        listed = ", ".join(f"{name} {sizes[name]:.0f}" for name in largest)
        print(f"{Path(what).name}: {time.perf_counter() - started:.0f} s, {sum(sizes.values()):.0f} MB ({listed})")
    subprocess.run([str(python), "-m", "pip", "check"], check=True)
    return python.parent


def _sizes(packages: Path) -> Iterator[tuple[str, float]]:
    for path in packages.iterdir():
        files = [path] if path.is_file() else (file for file in path.rglob("*") if file.is_file())
        yield path.name, sum(file.stat().st_size for file in files) / 1e6


def _lines(binaries: Path) -> list[str]:
    series = shlex.join([str(binaries / "python"), "-c", SERIES.format(here=str(Path(__file__).parent))])
    return ["promptseg example -o scan.nii.gz", series, *readme_commands()]


def _ran(line: str, binaries: Path, work: Path) -> str | None:
    """Run a line; return what it said where it failed."""
    program, *rest = shlex.split(line)
    command = [str(binaries / program), *rest] if "/" not in program else [program, *rest]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else (done.stdout + done.stderr)[-2000:]


def _served(binaries: Path, work: Path) -> str | None:
    """Ask the app for its page, with no Node in sight; return what it said where it has none."""
    port = free_port()
    command = [str(binaries / "promptseg"), "app", "--no-browser", "--port", str(port), "--data", str(work / "data")]
    with (work / "log.txt").open("wb") as log:
        environment = {**os.environ, "PATH": str(work)}
        process = subprocess.Popen(
            [str(binaries / "python"), *command], cwd=work, env=environment, stdout=log, stderr=log
        )
        try:
            page = answer(f"http://127.0.0.1:{port}/", process)
            return None if page and b"promptseg" in page else (work / "log.txt").read_text()[-2000:]
        finally:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(min(main(), 1))
