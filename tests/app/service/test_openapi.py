"""The OpenAPI description is true: schemathesis sends what it allows and what it forbids, and finds nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient

from promptseg.app.accounts import Accounts
from promptseg.app.application import create_app
from promptseg.app.settings import Limits, ServeSettings
from promptseg.app.store import Database
from promptseg.io import write_volume
from promptseg.volume import Geometry, Volume

from ..servers import InThread

EXAMPLES = 6  # per operation: a bounded run
# A request of the right form may still make no sense here (a point outside the image): that is 422, too.
CONFIG = """
[parameters]
"path.session_id" = "{session}"
"path.study_id" = "{study}"
"path.series_id" = "1"
"path.model_id" = "classical"
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", "401", "404", "409", "422", "429", "5xx"]
[[operations]]
include-name = "DELETE /api/v1/sessions/{{session_id}}"
[operations.parameters]
"path.session_id" = "{doomed}"
"""
LIMITS = Limits(requests_per_s=1e6, request_burst=10**9, logins_per_minute=10**9)


@pytest.fixture
def keyed(tmp_path: Path) -> tuple[ServeSettings, str]:
    settings = ServeSettings(data=tmp_path / "data", auth="keys", limits=LIMITS, models=("classical",))
    settings.data.mkdir()
    database = Database(settings.store_url)
    accounts = Accounts(database, settings)
    accounts.add("fuzz")
    key = accounts.new_key("fuzz")
    database.close()
    return settings, key


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A bright block in air, small: thousands of requests work on it."""
    geometry = Geometry((7, 30, 34), (0.8, 1.2, 2.5), (-20.0, 30.0, -400.0), (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1))
    values = np.full(geometry.shape, -900, np.int16)
    values[1:6, 8:22, 9:27] = 60
    return write_volume(Volume.from_array(values, geometry, modality="CT"), tmp_path / "scan.nii.gz")[0]


def test_schemathesis_finds_nothing(keyed: tuple[ServeSettings, str], scan: Path, tmp_path: Path) -> None:
    settings, key = keyed
    with InThread(settings) as url:
        headers = {"Authorization": f"Bearer {key}"}
        api = httpx.Client(base_url=f"{url}/api/v1", headers=headers, timeout=120)
        with api:
            description = api.get("/openapi.json")
            assert description.json()["openapi"].startswith("3.1")
            (tmp_path / "openapi.json").write_text(description.text)
            study = api.post("/studies", files={"files": ("scan.nii.gz", scan.read_bytes())}).json()["id"]
            body = {"study": study, "model": "classical"}
            session, doomed = (api.post("/sessions", json=body).json()["id"] for _ in range(2))
            api.post(f"/sessions/{session}/labels", json={"name": "liver"})
            config = CONFIG.format(session=session, study=study, doomed=doomed)
            (tmp_path / "schemathesis.toml").write_text(config)
        command = [sys.executable, "-m", "schemathesis.cli", "run", str(tmp_path / "openapi.json"), "--url", url]
        command += ["--include-path-regex", "^/api/v1/", "--max-examples", str(EXAMPLES), "--seed", "1"]
        command += ["--header", f"Authorization: Bearer {key}", "--suppress-health-check", "all", "--no-color"]
        command += ["--continue-on-failure", "--phases", "examples,coverage,fuzzing", "--request-timeout", "120"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_a_page_describes_it_without_any_other_host(client: TestClient) -> None:
    page = client.get("/api/v1/docs")
    assert page.status_code == 200
    assert "/api/v1/sessions/{session_id}/prompts" in page.text
    assert "<script" not in page.text
    assert "//" not in page.text  # no address of another host


def test_it_says_what_a_client_must_send(serve: Callable[[ServeSettings], TestClient], settings: ServeSettings) -> None:
    with TestClient(create_app(replace(settings, auth="keys")), base_url="http://127.0.0.1:7860") as client:
        schema = client.app.openapi()  # type: ignore[attr-defined]
    assert schema["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert schema["security"] == [{"key": []}, {"login": []}]
    assert schema["paths"]["/api/v1/health"]["get"]["security"] == []
    assert "securitySchemes" not in serve(settings).get("/api/v1/openapi.json").json()["components"]
