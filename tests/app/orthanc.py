"""An Orthanc of Debian's package with its DICOMweb plugin, started for the tests on a free port."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from .servers import free_port

PLUGIN = "libOrthancDicomWeb.so"
USER, PASSWORD = "promptseg", "a password for the tests"


def binary() -> tuple[str, Path] | None:
    """Return Orthanc and its DICOMweb plugin, None where they are not installed."""
    found = shutil.which("Orthanc")
    plugin = next(Path("/usr/share/orthanc/plugins").glob(PLUGIN), None)
    return (found, plugin) if found and plugin else None


@contextmanager
def running(program: tuple[str, Path], folder: Path, files: Iterable[Path]) -> Iterator[str]:
    """Run a server that holds these DICOM files; give the address of its DICOMweb part."""
    port = free_port()
    settings = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "Plugins": [str(program[1])],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    config = folder / "orthanc.json"
    config.write_text(json.dumps(settings))
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen([program[0], str(config)], stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", auth=(USER, PASSWORD), timeout=120) as api:
            _wait(api, process)
            for file in files:
                api.post("/instances", content=file.read_bytes()).raise_for_status()
        yield f"http://127.0.0.1:{port}/dicom-web"
    finally:
        process.kill()
        process.wait(timeout=60)


def _wait(api: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 180
    while True:
        assert process.poll() is None, "Orthanc ended at once"
        assert time.monotonic() < deadline, "Orthanc does not answer"
        try:
            if api.get("/system").status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.05)
