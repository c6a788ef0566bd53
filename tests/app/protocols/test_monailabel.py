"""MONAI Label's protocol with the published client, which 3D Slicer's module carries a copy of."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import SimpleITK as sitk
from viewers import SHAPE, dice, from_wheel, phantom

from ..servers import RealServer

pytestmark = [
    pytest.mark.filterwarnings("ignore:'cgi' is deprecated:DeprecationWarning"),  # the client's own import
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # and its unclosed sockets
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
MODEL = "promptseg_click"
CENTRE_IJK = [25, 13, 8]


@pytest.fixture(scope="module")
def module() -> Any:
    return from_wheel("monailabel", "monailabel/client/client.py", "monailabel_client")


@pytest.fixture
def client(module: Any, address: str, tmp_path: Path) -> Any:
    return module.MONAILabelClient(address, str(tmp_path), client_id="user-1")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An oblique, anisotropic, off-origin volume of int16, under a name with a space."""
    volume = sitk.GetImageFromArray(phantom("int16")[0])
    volume.SetSpacing((0.7, 0.9, 3.0))
    volume.SetOrigin((-80.5, 22.25, 1000.0))
    c, s = np.cos(0.3), np.sin(0.3)
    volume.SetDirection((0.0, c, -s, -1.0, 0.0, 0.0, 0.0, s, c))
    path = tmp_path_factory.mktemp("client") / "some scan.nii.gz"
    sitk.WriteImage(volume, str(path))
    return path


def clicks(**more: Any) -> dict[str, Any]:
    return {
        "label": "structure",
        "foreground": [CENTRE_IJK],
        "background": [],
        "client_id": "user-1",
        "result_extension": ".nrrd",
        "result_dtype": "uint8",
        **more,
    }


def infer(client: Any, session: str, **more: Any) -> np.ndarray:
    path, _ = client.infer(MODEL, "some scan", clicks(**more), session_id=session)
    mask = sitk.GetArrayFromImage(sitk.ReadImage(path))
    Path(path).unlink()
    return mask


def test_20_the_client_finds_what_it_asks_for(client: Any) -> None:
    assert not client.auth_enabled()
    info = client.info()
    assert not info.get("config")
    assert isinstance(info["labels"], list)
    for model in info["models"].values():
        assert {"type", "description", "labels", "dimension"} <= set(model)
    assert not client.train_status(check_if_running=True) if hasattr(client, "train_status") else True


def test_20_no_training_runs(address: str) -> None:
    assert requests.get(f"{address}/train/?check_if_running=true", timeout=30).status_code == 404


def test_20_with_the_browser_app_at_the_root_the_client_finds_the_same(module: Any, tmp_path: Path) -> None:
    if find_spec("gradio") is None:
        pytest.skip("the browser app is not installed")
    server = RealServer(tmp_path / "data", "--ui", "--model", "classical")
    try:
        server.start()
        client = module.MONAILabelClient(server.url)
        assert not client.auth_enabled()
        assert MODEL in client.info()["models"]
        assert requests.get(f"{server.url}/train/?check_if_running=true", timeout=60).status_code == 404
        assert requests.get(f"{server.url}/no/such/page", timeout=60).status_code == 404
        assert "text/html" in requests.get(f"{server.url}/", timeout=60).headers["Content-Type"]
    finally:
        server.kill()


def test_21_a_click_marks_the_object_on_the_image_s_own_grid(client: Any, image: Path) -> None:
    session = client.create_session(str(image))["session_id"]
    assert client.get_session(session)["name"] == session
    path, params = client.infer(MODEL, "some scan", clicks(), session_id=session)
    label, source = sitk.ReadImage(path), sitk.ReadImage(str(image))
    for ask in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(label, ask)(), getattr(source, ask)(), atol=1e-5)
    mask = sitk.GetArrayFromImage(label)
    assert mask.dtype == np.uint8
    assert label[tuple(CENTRE_IJK)] == 1
    assert set(np.unique(mask)) == {0, 1}
    assert dice(mask, phantom()[1]) > 0.8
    assert params["label_names"] == {"structure": 1}


def test_22_odd_clicks_are_answered(client: Any, image: Path) -> None:
    session = client.create_session(str(image))["session_id"]
    assert not infer(client, session, foreground=[]).any()
    assert not infer(client, session, foreground=[], background=[CENTRE_IJK]).any()
    whole = infer(client, session)
    np.testing.assert_array_equal(infer(client, session, foreground=[CENTRE_IJK, [400, 2, 2], [-1, 0, 0]]), whole)
    box = infer(client, session, roi=[36, 15, 5, 21, 12, 4])  # pairs turned round
    assert not box[:4].any()
    assert not box[13:].any()
    assert dice(box[4:13], phantom()[1][4:13]) > 0.7
    np.testing.assert_array_equal(infer(client, session), whole)  # each request stands for itself


def test_22_unknown_names_are_errors_but_for_a_session_that_is_gone(client: Any, module: Any, image: Path) -> None:
    session = client.create_session(str(image))["session_id"]
    for model, name, sid in (("other", "some scan", session), (MODEL, "nothing", None), (MODEL, "x", "0" * 32)):
        with pytest.raises(module.MONAILabelClientException):
            client.infer(model, name, clicks(), session_id=sid)
    assert client.get_session("0" * 32) == {}
    client.remove_session(session)
    assert client.get_session(session) == {}
    with pytest.raises(module.MONAILabelClientException):
        client.remove_session(session)


def test_23_images_and_labels_are_kept_and_given_back(client: Any, image: Path, tmp_path: Path, address: str) -> None:
    name = "Café 1/2 ../../x"
    client.upload_image(str(image), image_id=name)
    path, _ = client.infer(MODEL, name, clicks())
    assert dice(sitk.GetArrayFromImage(sitk.ReadImage(path)), phantom()[1]) > 0.8
    client.save_label(name, path, tag="", params={"label_info": [{"name": "structure", "idx": 1}]})
    objects = client.datastore()["objects"]
    assert set(objects[name]["labels"]) == {"final"}
    kept = client.download_label(name, "final")
    assert Path(kept).read_bytes() == Path(path).read_bytes()
    assert client.next_sample("random", {}) == {}
    stored = requests.get(f"{address}/datastore/image", params={"image": name}, timeout=30)
    assert stored.content == image.read_bytes()
    assert client.info()["datastore"]["completed"] == 1


def test_23_an_image_may_come_with_the_clicks(client: Any, image: Path) -> None:
    path, _ = client.infer(MODEL, "", clicks(), file=str(image))
    assert dice(sitk.GetArrayFromImage(sitk.ReadImage(path)), phantom()[1]) > 0.8


def test_24_the_answer_has_a_length_and_a_raw_file_for_ohif(client: Any, image: Path, address: str) -> None:
    session = client.create_session(str(image))["session_id"]
    url = f"{address}/infer/{MODEL}?image=x&session_id={session}"
    plain = requests.post(url, files={"params": (None, json.dumps(clicks()))}, timeout=60)
    assert int(plain.headers["Content-Length"]) == len(plain.content)
    assert "chunked" not in plain.headers.get("Transfer-Encoding", "")
    raw = requests.post(f"{url}&output=image", files={"params": (None, json.dumps(clicks()))}, timeout=60)
    header, _, voxels = raw.content.partition(b"\n\n")
    assert b"encoding: raw" in header
    assert len(voxels) == np.prod(SHAPE)
    mask = np.frombuffer(voxels, np.uint8).reshape(SHAPE)
    assert dice(mask, phantom()[1]) > 0.8
    said = requests.post(f"{url}&output=json", files={"params": (None, json.dumps(clicks()))}, timeout=60)
    assert said.json()["label_names"] == {"structure": 1}


@pytest.mark.parametrize("name", ["../../x", "C:\\x", "/etc/x", "..", "a/b", "\u2603", "x" * 500])
def test_25_no_name_leads_out_of_the_store(listen: Callable[..., str], name: str, image: Path) -> None:
    apps: list[Any] = []
    address = listen(apps.append)
    data: Path = apps[0].state.promptseg.settings.data
    before = {path for path in data.parent.rglob("*") if data not in path.parents}
    with image.open("rb") as file:
        sent = {"file": (name + ".nii.gz", file), "params": (None, "{}")}
        answer = requests.put(f"{address}/datastore/", params={"image": name}, files=sent, timeout=60)
    assert answer.status_code == 200, answer.text
    assert {path for path in data.parent.rglob("*") if data not in path.parents} == before
    stored = [path for path in (data / "datastore").rglob("*") if path.is_file()]
    assert not any("x" * 50 in str(path) or "\u2603" in str(path) or "etc" in path.name for path in stored)


def test_25_an_empty_name_is_refused(address: str, image: Path) -> None:
    with image.open("rb") as file:
        answer = requests.put(f"{address}/datastore/", files={"file": ("x.nii.gz", file)}, timeout=60)
    assert answer.status_code == 400


def test_a_series_of_the_server_is_found_by_its_uid(listen: Callable[..., str], shared_data: Path) -> None:
    import pydicom

    folder = shared_data / "ct_dcmqi_liver3slice_seg" / "dicom"
    uid = pydicom.dcmread(next(folder.glob("*.dcm")), stop_before_pixels=True).SeriesInstanceUID
    address = listen(roots=(folder,))
    body = {"params": (None, json.dumps(clicks(foreground=[[150, 200, 1]])))}
    url = f"{address}/infer/{MODEL}"
    answer = requests.post(url, params={"image": uid, "output": "image"}, files=body, timeout=120)
    header, _, voxels = answer.content.partition(b"\n\n")
    assert answer.status_code == 200, answer.text
    assert b"sizes: 512 512 3" in header
    mask = np.frombuffer(voxels, np.uint8).reshape(3, 512, 512)
    assert mask[1, 200, 150] == 1
    assert requests.post(url, params={"image": "1.2.3"}, files=body, timeout=60).status_code == 404


def test_with_users_the_api_key_is_the_password(module: Any, listen: Callable[..., str]) -> None:
    apps: list[Any] = []
    address = listen(apps.append, auth="keys")
    accounts = apps[0].state.promptseg.accounts
    accounts.add("reader")
    key = accounts.new_key("reader")
    assert requests.get(f"{address}/info/", timeout=30).status_code == 401
    client = module.MONAILabelClient(address)
    assert client.auth_enabled()
    for typed, known in (("wrong", False), (key, True)):
        client.update_auth(client.auth_token("reader", typed))
        assert client.auth_valid_token() is known
    client = module.MONAILabelClient(address)
    client.update_auth({"access_token": key, "token_type": "bearer"})
    assert client.info()["name"] == "promptseg"
    assert (
        requests.get(f"{address}/v2/models", headers={"Authorization": f"Bearer {key}"}, timeout=30).status_code == 403
    )


def test_a_viewer_that_is_a_page_of_another_address_may_ask(listen: Callable[..., str]) -> None:
    ohif = "http://ohif.example:3000"
    address = listen(origins=(ohif,))
    preflight = {"Origin": ohif, "Access-Control-Request-Method": "POST"}
    answer = requests.options(f"{address}/infer/{MODEL}", headers=preflight, timeout=30)
    assert answer.headers["Access-Control-Allow-Origin"] == ohif
    assert requests.get(f"{address}/info/", headers={"Origin": ohif}, timeout=30).status_code == 200
    stranger = {**preflight, "Origin": "http://elsewhere.example"}
    refused = requests.options(f"{address}/infer/{MODEL}", headers=stranger, timeout=30)
    assert "Access-Control-Allow-Origin" not in refused.headers
