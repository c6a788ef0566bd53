"""``promptseg models ...`` as a user types it."""

import contextlib
import hashlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import promptseg
from promptseg.cli.models import cache_app, models_app
from promptseg.errors import ModelError
from promptseg.models.loading import loaded_models
from promptseg.models.table import markdown_table
from promptseg.models.weights import registry
from promptseg.models.weights.registry import ModelCard, WeightFile, model_cards

pytestmark = pytest.mark.torch

CONTENT = b"weights" * 1000


def run(*args):
    app, words = (cache_app, args[1:]) if args[0] == "cache" else (models_app, args)
    return CliRunner().invoke(app, list(words), catch_exceptions=False, env={"COLUMNS": "400"})


@pytest.fixture
def toy(file_server, monkeypatch):
    file_server.files["/toy.pth"] = CONTENT
    digest = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
    file = WeightFile("toy.pth", urls=(f"{file_server.url}/toy.pth",), hashes=(digest,))
    card = ModelCard("toy", "sam", "a toy", 2, ("point",), "CC-BY-NC-4.0", False, "nowhere", files=(file,))
    package = registry._package_cards()
    monkeypatch.setattr(registry, "_package_cards", lambda: {**package, "toy": card})
    return card


def test_the_life_of_weights(toy, tmp_path):
    assert " - " in next(line for line in run("list").stdout.splitlines() if line.startswith("toy"))
    with pytest.raises(ModelError, match="--accept-licence"):
        run("pull", "toy")
    pulled = run("pull", "toy", "--accept-licence")
    assert pulled.stdout.strip().endswith("toy.pth")
    assert " here " in next(line for line in run("list").stdout.splitlines() if line.startswith("toy"))
    assert "checked by sha256" in run("show", "toy").stdout
    assert run("verify").stdout.startswith("ok       toy/toy.pth: sha256")
    assert "w.tar" in run("pack", "toy", "-o", str(tmp_path / "w.tar")).stdout
    assert (tmp_path / "w.tar").stat().st_size > 7000
    assert run("rm", "toy").stdout == "freed 7.0 kB\n"
    assert run("rm", "toy").stdout == "nothing was there\n"
    assert run("verify").stdout == "nothing to verify: of these models no file is on this machine\n"
    assert run("import", str(tmp_path / "w.tar")).stdout == "toy/toy.pth\n"
    (tmp_path / "models" / "toy" / "toy.pth").write_bytes(b"spoiled")
    with pytest.raises(ModelError, match="1 file"):
        run("verify", "toy")


def _on_a_terminal(*words):
    """Run the program with a terminal for its messages; return (exit code, output, what the terminal got)."""
    keeper, terminal = os.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "promptseg", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=terminal, env=env, text=True) as running:
        os.close(terminal)
        shown = b""
        with contextlib.suppress(OSError):  # how Linux says that nobody writes to it any more
            while piece := os.read(keeper, 4096):
                shown += piece
        os.close(keeper)
        output = running.stdout.read()
    return running.returncode, output, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal")
def test_pull_shows_a_bar_on_a_terminal_and_nothing_elsewhere(file_server, tmp_path):
    content = bytes(2_500_000)
    file_server.files["/mine.pth"], file_server.delay_s = content, 0.2
    row = tmp_path / "models" / "mine" / "model.toml"
    row.parent.mkdir(parents=True)
    row.write_text(
        '[mine]\nfamily = "sam"\ntitle = "mine"\ndimensions = 2\nprompts = ["point"]\nlicence = "own"\n'
        'commercial_use = true\nsource = "me"\n[[mine.files]]\nname = "mine.pth"\n'
        f'urls = ["{file_server.url}/mine.pth"]\nhashes = ["sha256:{hashlib.sha256(content).hexdigest()}"]\n'
    )
    code, output, shown = _on_a_terminal("models", "pull", "mine")
    path = row.parent / "mine.pth"
    assert (code, output) == (0, f"{path}\n")
    bars = [line for line in re.split(r"[\r\n]+", shown) if line.startswith("mine ")]
    assert re.search(r"━━━ 0(\.0)?/\? bytes", bars[0]), "a bar stands there while the server thinks"
    assert "━━━ 2.5/2.5 MB" in bars[-1]
    path.unlink()
    command = [sys.executable, "-m", "promptseg", "models", "pull", "mine"]
    silent = subprocess.run(command, capture_output=True, text=True, check=True)
    assert silent.stdout == f"{path}\n"
    assert silent.stderr == "note: for a CPU, once: promptseg models export mine\n"


def test_the_readme_table_is_the_registry_s():
    assert run("list", "--markdown").stdout == markdown_table(c for c in model_cards().values() if not c.user)


def test_add_export_bench_and_use_an_own_model(tiny_arch, tiny_checkpoint, monkeypatch):
    loaded_models().clear()
    with pytest.raises(ModelError, match="looks like"):
        run("add", "mine", "--checkpoint", str(tiny_checkpoint), "--arch", "vit_b")
    with pytest.raises(ModelError, match="is taken"):
        run("add", "builtin", "--checkpoint", str(tiny_checkpoint))
    with pytest.raises(ModelError, match="lower-case"):
        run("add", "My Model", "--checkpoint", str(tiny_checkpoint))
    with pytest.raises(ModelError, match="found nothing"):
        run("add", "mine", "--checkpoint", "absent.pth")
    added = run("add", "mine", "--checkpoint", str(tiny_checkpoint), "--arch", tiny_arch, "--input-px", "192")
    assert added.stdout == "mine: sam tiny, 192 px, preprocessing sam\n"
    assert model_cards()["mine"].user
    assert "added by the user" in run("show", "mine").stdout
    exported = run("export", "mine").stdout
    assert "masks overlap 1.0000" in exported.splitlines()[1]
    timed = run("bench", "mine", "builtin", "--repeats", "1", "--device", "cpu").stdout.splitlines()
    assert timed[1].startswith("mine ")
    assert "ONNX Runtime" in timed[1]
    pair = [str(model_dir) for model_dir in sorted((_models_dir() / "mine" / "onnx-fp32").glob("*.onnx"))]
    run("add", "pair", "--checkpoint", pair[1], "--decoder", pair[0], "--input-px", "192")
    assert "ONNX Runtime" in run("bench", "pair", "--repeats", "1").stdout
    with pytest.raises(ModelError, match=r"two \.onnx files"):
        run("add", "half", "--checkpoint", pair[1])
    run("rm", "mine")
    assert "mine" not in model_cards()


@pytest.mark.parametrize("name", ["tune.pth", "tune.pt", "tune.safetensors"])
def test_a_fine_tune_in_any_of_its_formats_is_usable_by_its_id(name, tiny_arch, tiny_checkpoint, tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from safetensors.torch import save_file

    state = torch.load(tiny_checkpoint, weights_only=True)
    state = state.get("model", state)
    if name.endswith(".safetensors"):
        save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / name)
    else:
        torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / name)
    loaded_models().clear()
    run("add", "tuned", "--checkpoint", str(tmp_path / name), "--arch", tiny_arch, "--input-px", "192")
    volume = promptseg.Volume(
        np.random.default_rng(0).integers(0, 255, (3, 40, 60)).astype(np.int16),
        promptseg.Geometry((3, 40, 60), (1.0, 1.0, 3.0)),
        promptseg.Window(0, 255),
    )
    session = promptseg.open_session(volume, model="tuned")
    session.add(promptseg.Point(voxel=(1, 20, 30)), propagate=False)
    assert session.model_id == "tuned"


def _models_dir():
    from promptseg.models.settings import model_settings

    return model_settings().models_dir


def test_the_cache_says_what_it_holds(tmp_path):
    assert "0 embeddings, 0 B; limit off" in run("cache", "info").stdout
    folder = tmp_path / "cache" / "embeddings" / "m"
    folder.mkdir(parents=True)
    (folder / "a.npz").write_bytes(b"x" * 2000)
    assert "1 embeddings, 2.0 kB" in run("cache", "info").stdout
    assert run("cache", "clear").stdout == "freed 2.0 kB\n"
    assert run("cache", "clear").stdout == "nothing was there\n"


def test_the_cache_counts_and_clears_every_runtime_s_networks_and_what_killed_processes_left(tmp_path):
    now = time.time()
    names = ("graphs/abc/graph.onnx", "graphs/openvino/1.blob", "graphs/tensorrt/fp16/x.engine")
    ages_s = {**dict.fromkeys(names, 0), "embeddings/m/.part-old": 7200, "embeddings/m/.part-new": 10}
    for name, age_s in ages_s.items():
        path = tmp_path / "cache" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 1000)
        os.utime(path, (now - age_s, now - age_s))
    said = run("cache", "info").stdout
    assert "0 embeddings, 1.0 kB" in said
    assert "in 3 files, 3.0 kB" in said
    assert run("cache", "clear").stdout == "freed 4.0 kB\n"
    assert [p.name for p in (tmp_path / "cache").rglob("*") if p.is_file()] == [".part-new"]  # still being written


def test_a_bench_has_its_own_process(monkeypatch):
    held = np.ones(400_000_000 // 8)  # 400 MB of this process
    said = run("bench", "builtin", "classical", "--repeats", "1", "--device", "cpu").stdout.splitlines()
    peaks_mb = [float(line.split()[4]) for line in said[1:]]
    assert held.sum() == 50_000_000
    assert 20 < peaks_mb[1] < peaks_mb[0] < 400
    assert "CPUExecutionProvider" in said[1]
    assert "OpenCV" in said[2]


def test_help_and_listing_load_nothing_heavy():
    code = (
        "import sys\nfrom promptseg.cli.main import main\n"
        "sys.argv = ['promptseg', 'models', 'list', '--markdown']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(*[m for m in ('torch', 'onnxruntime', 'transformers', 'cv2') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "| `sam-vit-b` |" in done.stdout
    assert done.stderr.split() == []


@pytest.mark.parametrize("page", ["models/README.md", "docs/models.md"])
def test_the_table_of_models_is_current(page):
    text = (Path(__file__).parents[2] / page).read_text(encoding="utf-8")
    begin, end = "<!-- models: promptseg models list --markdown -->\n", "<!-- /models -->"
    assert text.count(begin) == text.count(end) == 1, f"expected one table of models between marks in {page}"
    shown = text.partition(begin)[2].partition(end)[0]
    assert shown == markdown_table(c for c in model_cards().values() if not c.user), "promptseg models list --markdown"
