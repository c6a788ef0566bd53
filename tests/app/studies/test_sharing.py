"""A study is its owner's, and a colleague's as far as the owner says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from promptseg.app import audit
from promptseg.app.settings import ServeSettings
from promptseg.app.store import Database

from ..conftest import add_users

API = "/api/v1"
CLICK = {"prompts": [{"type": "point", "voxel": [24, 62, 54]}]}
Ask = Callable[..., int]


@pytest.fixture
def people(serve: Callable[[ServeSettings], TestClient], settings: ServeSettings) -> Callable[[str], TestClient]:
    """Return a function that gives a person's client of one server."""
    settings = replace(settings, auth="keys")
    keys = add_users(settings, "ann", "bob", "eve")
    client = serve(settings)

    def of(name: str) -> TestClient:
        client.headers["Authorization"] = f"Bearer {keys[name]}"
        return client

    return of


def test_readers_look_editors_work_owners_delete(people: Callable[[str], TestClient], settings: ServeSettings) -> None:
    def ask(name: str, method: str, path: str, **body: object) -> int:
        return people(name).request(method, f"{API}{path}", **body).status_code  # type: ignore[arg-type]

    study = people("ann").post(f"{API}/studies", json={"example": True}).json()["id"]
    session = people("ann").post(f"{API}/sessions", json={"study": study, "model": "classical"}).json()["id"]
    here, share = f"/sessions/{session}", f"/studies/{study}/shares/bob"
    assert ask("bob", "GET", here) == 404
    assert ask("bob", "PUT", share, json={"role": "editor"}) == 404  # nobody lets himself in
    assert ask("ann", "PUT", f"/studies/{study}/shares/nobody", json={"role": "reader"}) == 404
    assert ask("ann", "PUT", share, json={"role": "owner"}) == 422

    assert ask("ann", "PUT", share, json={"role": "reader"}) == 204
    for path in (
        here,
        f"{here}/labels.nii",
        f"{here}/image.nii",
        f"{here}/export?format=nii.gz",
        f"{here}/measurements",
    ):
        assert ask("bob", "GET", path) == 200, path
    assert [one["id"] for one in people("bob").get(f"{API}/sessions").json()] == [session]
    assert [one["id"] for one in people("bob").get(f"{API}/studies").json()] == [study]
    for method, path, body in (
        ("POST", f"{here}/prompts", CLICK),
        ("POST", f"{here}/undo", None),
        ("POST", f"{here}/propagate", {}),
        ("POST", f"{here}/labels", {}),
        ("POST", f"{here}/close", None),
        ("DELETE", here, None),
        ("DELETE", f"/studies/{study}", None),
        ("POST", "/sessions", {"study": study}),
        ("PUT", share, {"role": "editor"}),
    ):
        assert ask("bob", method, path, json=body) == 403, (method, path)

    assert ask("ann", "PUT", share, json={"role": "editor"}) == 204
    assert ask("bob", "POST", f"{here}/prompts", json=CLICK) == 200
    own = people("bob").post(f"{API}/sessions", json={"study": study, "model": "classical"}).json()["id"]
    assert ask("ann", "GET", f"/sessions/{own}") == 200  # the study's owner sees what is made of it
    assert ask("bob", "DELETE", here) == 403
    assert ask("bob", "DELETE", f"/sessions/{own}") == 204
    assert people("ann").get(f"{API}/studies/{study}/shares").json() == {"bob": "editor"}
    for path in (here, f"/studies/{study}", f"/studies/{study}/shares"):
        assert ask("eve", "GET", path) == 404
    assert ask("ann", "DELETE", share) == 204
    assert ask("bob", "GET", here) == 404
    people("ann").app.state.promptseg.audit.close()  # type: ignore[attr-defined]
    database = Database(replace(settings, auth="keys").store_url)
    noted = audit.entries(database, 0.0)
    database.close()
    assert {"labels read", "image read", "shared with reader", "shared no longer"} <= {one.action for one in noted}
    assert {one.address for one in noted} == {"testclient"}
