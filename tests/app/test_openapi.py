"""The OpenAPI description is true: schemathesis sends what it allows and forbids, and finds nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from promptseg.app.service.application import create_app
from promptseg.app.settings import Limits, ServeSettings

EXAMPLES = 12  # per operation; the run is bounded, `benchmarks/openapi.py` sends more


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    limits = Limits(requests_per_s=1e6, request_burst=1_000_000)
    app = create_app(ServeSettings(data=tmp_path_factory.mktemp("fuzz"), limits=limits))
    with TestClient(app, base_url="http://127.0.0.1:7860") as client:
        yield client
