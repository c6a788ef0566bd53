"""An own models folder for every test, and a web server that can misbehave."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from promptseg.models.settings import ModelSettings, model_settings
from promptseg.models.weights.store import Store


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSettings:
    """Settings of this test alone: empty folders, no mirrors, online, no proxy."""
    for name in ("HF_ENDPOINT", "PROMPTSEG_MIRRORS", "PROMPTSEG_OFFLINE", "HF_HUB_OFFLINE", "PROMPTSEG_RUNTIME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("promptseg.models.runtime.has_openvino", lambda: False)  # installed or not: one default
    monkeypatch.setenv("PROMPTSEG_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("PROMPTSEG_CACHE", str(tmp_path / "cache"))
    return model_settings()


@pytest.fixture
def store(own_folders: ModelSettings) -> Store:
    return Store(own_folders)


@pytest.fixture
def no_decoder(tmp_path: Path) -> Path:
    """Write a network that is no model's decoder: it hands "a" on as "b"."""
    import onnx

    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Identity", ["a"], ["b"])
    shape = (onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([node], "g", [value("a", *shape)], [value("b", *shape)])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "x.onnx")
    return tmp_path / "x.onnx"


@dataclass
class FileServer:
    """Serves ``files`` by path; knobs make it misbehave."""

    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)  # (path, Range header)
    cut_after: int = 0  # close the connection after so many bytes, once
    delay_s: float = 0.0
    web_page: bool = False
    etag: str | None = None  # instead of its own strong one; "" for none
    claims: int | str = 0  # this many bytes instead of the real number, once
    rest_from: int | None = None  # where the rest begins that it sends, whatever was asked
    ignores_version: bool = False  # sends the rest of whatever it has now
    url: str = ""


def _handler(server: FileServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            server.requests.append((self.path, wanted))
            if server.delay_s:
                threading.Event().wait(server.delay_s)
            content = server.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            etag = f'"{hash(content)}"' if server.etag is None else server.etag
            start, is_rest = 0, bool(wanted) and (server.ignores_version or self.headers.get("If-Range") == etag)
            if is_rest:
                asked = int(wanted.removeprefix("bytes=").rstrip("-"))
                start = asked if server.rest_from is None else server.rest_from
            is_past = start >= len(content)
            self.send_response(416 if is_past else 206 if is_rest else 200)
            if is_rest:
                sent = "*" if is_past else f"{start}-{len(content) - 1}"
                self.send_header("Content-Range", f"bytes {sent}/{len(content)}")
            self.send_header("Content-Type", "text/html" if server.web_page else "application/octet-stream")
            self.send_header("Content-Length", str(server.claims or len(content[start:])))
            if etag:
                self.send_header("ETag", etag)
            self.send_header("Connection", "close")
            self.end_headers()
            body, server.claims = content[start:], 0
            if server.cut_after:
                body, server.cut_after = body[: server.cut_after], 0
            self.wfile.write(body)
            self.close_connection = True

    return Handler


@pytest.fixture
def file_server() -> Iterator[FileServer]:
    server = FileServer()
    http_server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    server.url = f"http://127.0.0.1:{http_server.server_port}"
    thread = threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    http_server.shutdown()
    http_server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def segment_anything() -> Any:
    """Meta's own package, the reference; skips where it is missing."""
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    return pytest.importorskip("segment_anything", reason="segment-anything is not installed")


TINY_PX = 192
TINY = {"width": 32, "depth": 3, "heads": 2, "global_blocks": (1,)}


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks are done sooner by one thread than by several that wait for each other."""
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch is not None else 0
    if torch is not None:
        torch.set_num_threads(1)
    yield
    if torch is not None:
        torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def reference_sam(segment_anything: Any) -> Any:
    """A small SAM of the reference's own classes with random weights: 192 px, so that windows are padded."""
    import torch
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    edge = TINY_PX // 16
    torch.manual_seed(4)
    sam = Sam(
        ImageEncoderViT(
            img_size=TINY_PX,
            embed_dim=TINY["width"],
            depth=TINY["depth"],
            num_heads=TINY["heads"],
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=14,
            global_attn_indexes=TINY["global_blocks"],
        ),
        PromptEncoder(256, (edge, edge), (TINY_PX, TINY_PX), 16),
        MaskDecoder(transformer_dim=256, transformer=TwoWayTransformer(2, 256, 8, 2048)),
    )
    with torch.no_grad():
        for name, value in sam.state_dict().items():
            if "norm" not in name and "gaussian" not in name and value.ndim >= 1:
                value.normal_(std=0.3 if value.ndim == 1 else 2.0 / value[0].numel() ** 0.5)
    return sam.eval()


@pytest.fixture
def tiny_arch(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an architecture of the reference's size."""
    pytest.importorskip("torch", reason="torch is not installed")
    from promptseg.models.networks import architectures
    from promptseg.models.networks.vit import VitShape

    monkeypatch.setitem(architectures.ARCHITECTURES, "tiny", VitShape(**TINY, input_px=TINY_PX))
    return "tiny"


@pytest.fixture(scope="session")
def tiny_checkpoint(reference_sam: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference's weights, saved as its project saves them."""
    import torch

    path = tmp_path_factory.mktemp("weights") / "sam_tiny.pth"
    torch.save(reference_sam.state_dict(), path)
    return path


@pytest.fixture(scope="session")
def slices(request: pytest.FixtureRequest) -> list[np.ndarray]:
    """Real slices, uint8: an axial CT, a chest X-ray that is broader than high, an ultrasound picture in colour."""
    import cv2
    import SimpleITK as sitk

    data = request.getfixturevalue("shared_data")
    volume = sitk.GetArrayFromImage(sitk.ReadImage(str(data / "ct_ts_trunk3mm" / "image.nii.gz")))
    cut = np.clip((volume[volume.shape[0] // 2].astype(np.float32) + 160) / 400, 0, 1)
    xray = cv2.imread(str(sorted((data / "images2d" / "xray_lung").glob("*.jpg"))[0]), cv2.IMREAD_GRAYSCALE)
    sound = cv2.imread(str(sorted((data / "images2d" / "us_fetalhead").glob("*.png"))[0]), cv2.IMREAD_COLOR)
    return [np.rint(cut * 255).astype(np.uint8), xray[:380], sound]
