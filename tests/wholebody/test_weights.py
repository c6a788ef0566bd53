"""Missing weights, where they are looked for, pulling them, and checkpoints that changed."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from promptseg.errors import ModelError, PromptsegError

pytest.importorskip("totalsegmentator", reason="TotalSegmentator is not installed")

from wholebody_phantoms import blocks

from promptseg.volume import Geometry
from promptseg.wholebody import WholeBody
from promptseg.wholebody.weights import ensure_home, weights_folder

FAST = "Dataset297_TotalSegmentator_total_3mm_1559subj"
Run = Callable[..., tuple[int, str, str]]


def test_missing_weights_say_which_where_and_how_without_a_connection(blocked_network: list[Any]) -> None:
    with pytest.raises(ModelError) as caught:
        WholeBody("total", fast=True, device="cpu").load()
    said = str(caught.value)
    for part in (FAST, str(weights_folder()), "promptseg models pull totalsegmentator:total_fast", "copy"):
        assert part in said
    assert blocked_network == []


def test_every_model_of_a_task_is_known_before_it_runs() -> None:
    ids = {
        (task, options.get("fast", False), bool(options.get("roi_subset"))): [
            model.dataset_id for model in WholeBody(task, **options).models
        ]
        for task, options in (
            ("total", {"fast": True}),
            ("total", {}),
            ("total", {"roi_subset": ["liver"]}),
            ("total_mr", {"fast": True, "roi_subset": ["liver"]}),
            ("lung_vessels", {}),
            ("teeth", {}),
            ("body", {"fast": True}),
        )
    }
    assert ids == {
        ("total", True, False): [297],
        ("total", False, False): [291, 292, 293, 294, 295],
        ("total", False, True): [298, 291],
        ("total_mr", True, True): [852],
        ("lung_vessels", False, False): [297, 117],
        ("teeth", False, False): [298, 115, 113],
        ("body", True, False): [300],
    }


def test_addresses_come_from_totalsegmentators_own_registry() -> None:
    from totalsegmentator.map_tasks_config import TASK_ID_WEIGHTS_CONFIGS

    (model,) = WholeBody("total", fast=True).models
    release = TASK_ID_WEIGHTS_CONFIGS[297]["version"]
    assert model.url == f"https://github.com/wasserth/TotalSegmentator/releases/download/{release}/{FAST}.zip"


def test_settings_of_totalsegmentators_own_users_are_honoured(
    use_tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    weights = use_tiny("random") / "totalsegmentator" / "nnunet" / "results"
    monkeypatch.setenv("PROMPTSEG_MODELS", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(weights))
    WholeBody("total", fast=True, device="cpu").load()
    home = tmp_path / "elsewhere" / "totalsegmentator"
    assert json.loads((home / "config.json").read_text())["send_usage_stats"] is False


def test_every_task_can_be_run_when_its_weights_are_here(tmp_path: Path) -> None:
    """Each task's own steps are gone through on a small image; TotalSegmentator's "test" is a stub."""
    from promptseg.wholebody.totalseg import all_tasks
    from promptseg.wholebody.weights import remember_licence

    remember_licence("aca_" + "X" * 14)
    for task in all_tasks():
        if task != "test":
            assert WholeBody(task).models, task
    with pytest.raises(ModelError, match="broke off in TotalSegmentator"):
        _ = WholeBody("test").models


def test_statistics_are_not_sent_even_where_the_settings_file_allows_it(
    use_tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, blocked_network: list[Any]
) -> None:
    weights = use_tiny("random") / "totalsegmentator" / "nnunet" / "results"
    content = '{"totalseg_id": "x", "send_usage_stats": true, "prediction_counter": 4}'
    (tmp_path / "config.json").write_text(content)
    monkeypatch.setenv("TOTALSEG_HOME_DIR", str(tmp_path))
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(weights))
    WholeBody("total", fast=True, device="cpu").segment(blocks(Geometry((12, 14, 16), (3.0, 3.0, 3.0))))
    assert blocked_network == []
    assert (tmp_path / "config.json").read_text() == content


def test_a_settings_file_that_is_there_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "theirs"
    home.mkdir()
    (home / "config.json").write_text('{"totalseg_id": "x", "send_usage_stats": true, "prediction_counter": 4}')
    monkeypatch.setenv("TOTALSEG_HOME_DIR", str(home))
    ensure_home()
    assert json.loads((home / "config.json").read_text())["prediction_counter"] == 4


@pytest.fixture
def mirror(use_tiny: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mirror with the archive that TotalSegmentator's release page would have; the models folder is empty."""
    weights = use_tiny("random") / "totalsegmentator" / "nnunet" / "results"
    place = tmp_path / "mirror" / "totalsegmentator-297"
    place.mkdir(parents=True)
    shutil.make_archive(str(place / FAST), "zip", weights, FAST)
    monkeypatch.setenv("PROMPTSEG_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("PROMPTSEG_MIRRORS", (tmp_path / "mirror").as_uri())
    return place / f"{FAST}.zip"


def test_pull_fetches_checks_and_unpacks_and_a_changed_checkpoint_is_refused(
    mirror: Path, run: Run, blocked_network: list[Any]
) -> None:
    code, _, err = run("models", "pull", "totalsegmentator:total_fast")
    assert code == 1
    assert "--trust-on-first-use" in err
    code, out, err = run("models", "pull", "totalsegmentator:total_fast", "--trust-on-first-use")
    assert code == 0, err
    folder = Path(out.strip())
    assert folder.parent == weights_folder() / FAST
    assert not list(weights_folder().glob(".unpacking-*"))
    WholeBody("total", fast=True, device="cpu").load()
    assert run("models", "pull", "totalsegmentator:total_fast")[0] == 0  # nothing left to do
    assert blocked_network == []

    checkpoint = folder / "fold_0" / "checkpoint_final.pth"
    checkpoint.write_bytes(checkpoint.read_bytes() + b"\0")
    with pytest.raises(ModelError, match="not the file that was pulled"):
        WholeBody("total", fast=True, device="cpu").load()

    shutil.rmtree(folder.parent)  # the archive's hash was pinned: another one under the same name is refused
    mirror.write_bytes(mirror.read_bytes() + b"\0")
    code, _, err = run("models", "pull", "totalsegmentator:total_fast", "--trust-on-first-use")
    assert code == 1
    assert "pinned" in err
    assert not folder.exists()


def test_a_damaged_archive_leaves_nothing_behind(mirror: Path, run: Run) -> None:
    mirror.write_bytes(mirror.read_bytes()[:2000])
    code, _, err = run("models", "pull", "totalsegmentator:total_fast", "--trust-on-first-use")
    assert code == 1
    assert "cannot be unpacked" in err
    assert not (weights_folder() / FAST).exists()


def test_a_download_that_broke_off_goes_on_where_it_stopped(
    mirror: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, asked = mirror.read_bytes(), []

    class Handler(BaseHTTPRequestHandler):
        """Breaks off the first answer in its middle."""

        def do_GET(self) -> None:
            asked.append(self.headers.get("Range"))
            start = int(asked[-1][len("bytes=") : -1]) if asked[-1] else 0
            self.send_response(206 if start else 200)
            self.send_header("ETag", '"one"')
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start : len(content) // 2 if len(asked) == 1 else None])

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        monkeypatch.setenv("PROMPTSEG_MIRRORS", f"http://127.0.0.1:{server.server_port}")
        pull = ("models", "pull", "totalsegmentator:total_fast", "--trust-on-first-use")
        while run(*pull)[0] and len(asked) < 3:
            pass
        server.shutdown()
    assert asked[:2] == [None, f"bytes={len(content) // 2}-"]
    WholeBody("total", fast=True, device="cpu").load()


def test_pull_offline_and_unknown_names_are_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, blocked_network: list[Any]
) -> None:
    monkeypatch.setenv("PROMPTSEG_OFFLINE", "1")
    code, _, err = run("models", "pull", "totalsegmentator:total_fast", "--trust-on-first-use")
    assert code == 1
    assert "offline" in err
    assert run("models", "pull", "totalsegmentator:totl")[0] == 1
    assert blocked_network == []


def test_licensed_weights_need_the_number_then_the_network(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from promptseg.wholebody.weights import remember_licence

    code, _, err = run("models", "pull", "totalsegmentator:face")
    assert code == 1
    assert "licence number" in err
    remember_licence("aca_" + "X" * 14)
    monkeypatch.setenv("PROMPTSEG_OFFLINE", "1")
    code, _, err = run("models", "pull", "totalsegmentator:face")
    assert code == 1
    assert "Dataset303_face_1559subj" in err


def test_no_error_is_foreign(tmp_path: Path, use_tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    models = tmp_path / "broken"
    shutil.copytree(use_tiny("random"), models)
    monkeypatch.setenv("PROMPTSEG_MODELS", str(models))
    for checkpoint in models.rglob("checkpoint_final.pth"):
        checkpoint.write_bytes(b"this is no checkpoint")
    with pytest.raises(PromptsegError, match="cannot load the model"):
        WholeBody("total", fast=True, device="cpu").load()
