"""compose.department.yaml: checked against Compose's schema, and run as plain processes: PostgreSQL, Orthanc, two
replicas with the file's own command, nginx with the file's own settings where it is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from dicom_phantoms import write_dicom

from promptseg.app.accounts import Accounts
from promptseg.app.settings import ServeSettings
from promptseg.app.store import Database

from .orthanc import PASSWORD, USER, binary, running
from .servers import RealServer, free_port
from .studies.test_dicomweb import CENTRE, SERIES, STUDY, TILTED, ball

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "compose.department.yaml"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
INSIDE = "http://orthanc:8042/dicom-web"


def services() -> dict[str, Any]:
    return dict(yaml.safe_load(FILE.read_text(encoding="utf-8"))["services"])


@pytest.mark.parametrize("file", ["compose.yaml", "compose.department.yaml"])
def test_composes_schema_has_nothing_to_say(file: str) -> None:
    tool = Path(sys.executable).with_name("check-jsonschema")
    if not tool.exists():
        pytest.skip("check-jsonschema is not installed")
    command = [tool, "--builtin-schema", "vendor.compose-spec", ROOT / file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout


def test_only_the_proxy_is_reached_from_outside_and_nothing_secret_stands_in_the_file() -> None:
    found = services()
    assert [name for name, one in found.items() if "ports" in one] == ["proxy"]
    assert found["replica-1"] == found["replica-2"]
    assert found["replica-1"]["cap_drop"] == ["ALL"]
    assert found["replica-1"]["read_only"]
    text = FILE.read_text(encoding="utf-8")
    assert "postgresql://" not in text.replace("PROMPTSEG_STORE=postgresql://...", "")
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


@dataclass
class Department:
    """What runs: two replicas, the proxy's address (or the first replica's), Orthanc's."""

    replicas: list[RealServer]
    proxy: str
    archive: str
    key: str


@pytest.fixture
def department(tmp_path: Path, postgres: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Department]:
    program = binary()
    if program is None:
        pytest.skip("Orthanc is not installed (Debian: apt-get install orthanc orthanc-dicomweb)")
    store, data = postgres(), tmp_path / "data"
    data.mkdir()
    database = Database(store)
    accounts = Accounts(database, ServeSettings(data=data, store=store))
    accounts.add("ada")
    key = accounts.new_key("ada")
    database.close()
    files = write_dicom(tmp_path / "files", ball(), TILTED, uid=SERIES, tags={"StudyInstanceUID": STUDY})
    monkeypatch.setenv("PROMPTSEG_STORE", store)  # as secrets/replica.env says
    monkeypatch.setenv("PROMPTSEG_DICOM_AUTH", f"{USER}:{PASSWORD}")
    with ExitStack() as stack:
        archive = stack.enter_context(running(program, tmp_path, files))
        replicas = []
        for name in ("replica-1", "replica-2"):
            options = [word.replace(INSIDE, archive) for word in services()[name]["command"][1:]]
            options = [word for word in options if not word.startswith(("--host", "--port", "--data"))]
            replicas.append(RealServer(data, *options))
            stack.callback(replicas[-1].kill)
            replicas[-1].start()
        proxy = stack.enter_context(nginx(tmp_path, replicas)) if NGINX else replicas[0].url
        yield Department(replicas, proxy, archive, key)


class nginx:  # noqa: N801 - a context manager
    """nginx with docs/deploy/nginx.conf, the replicas' names replaced by their addresses here."""

    def __init__(self, folder: Path, replicas: list[RealServer]) -> None:
        port = free_port()
        text = (ROOT / "docs" / "deploy" / "nginx.conf").read_text(encoding="utf-8")
        assert text.count("server replica-") == len(replicas)
        for number, replica in enumerate(replicas, start=1):
            text = text.replace(f"replica-{number}:7860", f"127.0.0.1:{replica.port}")
        text = text.replace("listen 7860;", f"listen 127.0.0.1:{port};").replace("/tmp/nginx.pid", f"{folder}/pid")
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):  # Debian's own lie where root writes
            text = text.replace("http {", f"http {{\n    {kind}_temp_path {folder}/{kind};", 1)
        self._config = folder / "nginx.conf"
        user = "user root;\n" if os.geteuid() == 0 else ""
        self._config.write_text(f"{user}daemon off;\nerror_log {folder}/nginx.log;\n{text}")
        self._url = f"http://127.0.0.1:{port}"

    def __enter__(self) -> str:
        self._process = subprocess.Popen([str(NGINX), "-c", str(self._config)])
        deadline = time.monotonic() + 60
        while True:
            assert self._process.poll() is None, "nginx ended at once"
            assert time.monotonic() < deadline
            try:
                if httpx.get(f"{self._url}/api/v1/health", timeout=10).status_code == 200:
                    return self._url
            except httpx.HTTPError:
                time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=60)


def test_a_session_on_a_study_of_the_archive_goes_on_when_its_replica_dies(department: Department) -> None:
    headers = {"Authorization": f"Bearer {department.key}"}
    with httpx.Client(base_url=f"{department.proxy}/api/v1", headers=headers, timeout=240) as api:
        address = f"{department.archive}/studies/{STUDY}/series/{SERIES}"
        study = api.post("/studies", json={"dicomweb": address}).raise_for_status().json()["id"]
        session = api.post("/sessions", json={"study": study, "model": "classical"}).raise_for_status().json()["id"]
        path = f"/sessions/{session}"

        def click(z: float) -> None:
            body = {"prompts": [{"type": "point", "voxel": [z, *CENTRE[1:]]}]}
            api.post(f"{path}/prompts", json=body).raise_for_status()

        def mask() -> bytes:
            return api.get(f"{path}/labels.nii").raise_for_status().content

        def held(replica: RealServer) -> int:
            numbers = httpx.get(f"{replica.url}/api/v1/metrics", headers=headers, timeout=60).text
            line = next(one for one in numbers.splitlines() if one.startswith("promptseg_sessions "))
            return int(float(line.split()[1]))

        click(6.0)
        before = mask()
        assert np.frombuffer(before[352:], np.uint8).any()
        if NGINX:
            assert sorted(held(one) for one in department.replicas) == [0, 1]  # affinity: one person, one replica
        dying = next(one for one in department.replicas if held(one))
        living = next(one for one in department.replicas if one is not dying)
        dying.kill()
        if not NGINX:
            api.base_url = httpx.URL(f"{living.url}/api/v1/")
        assert mask() == before
        click(7.0)
        assert api.get(path).json()["revision"] == 2
        assert held(living) == 1
