"""A user's own weights: taken whole or not at all, and never at the cost of what the user has."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from promptseg.errors import ModelError
from promptseg.models.loading import export_model, load_predictor, loaded_models
from promptseg.models.own_models import OwnModel, add_model
from promptseg.models.predictor import SliceImage, SlicePrompts, carrier_of
from promptseg.models.transfer import import_weights, pack_weights
from promptseg.models.weights.registry import model_card, model_cards
from promptseg.models.weights.store import Store

from .families.sam2.conftest import EDGE, tiny  # noqa: F401 - a fixture
from .families.sam2.test_memory import checkpoint, reference  # noqa: F401 - fixtures: a tiny SAM 2 as its project saves it
from .families.sam2.test_on_onnx import tiny2  # noqa: F401 - a fixture

pytest.importorskip("torch", reason="torch is not installed")
onnx = pytest.importorskip("onnx", reason="onnx is not installed")

pytestmark = pytest.mark.torch

CLICK = SlicePrompts(np.array([[20, 30]], np.float32), np.array([True]))
IMAGE = SliceImage(np.random.default_rng(0).random((40, 70), np.float32))


@pytest.fixture
def own(tiny_arch, tiny_checkpoint, tmp_path):
    """Makes a user's words about a tiny SAM."""
    path = shutil.copyfile(tiny_checkpoint, tmp_path / "w.pth")
    loaded_models().clear()
    return lambda **said: OwnModel("mine", **{"checkpoint": path, "arch": tiny_arch, "input_px": 192, **said})


@pytest.fixture
def pair(own, store, tmp_path):
    """Encoder and decoder of a tiny SAM, in files of one name, as exporters write them into folders."""
    add_model(own(), store)
    export_model("mine")
    exported = store.folder("mine") / "onnx-fp32"
    paths = []
    for role in ("encoder", "decoder"):
        path = tmp_path / role / "model.onnx"
        path.parent.mkdir()
        paths.append(shutil.copyfile(exported / f"{role}.onnx", path))
    store.remove(model_card("mine"))
    return paths


def test_a_checkpoint_that_lies_in_its_place_already_stays_there(own, store):
    place = store.folder("mine") / "w.pth"
    place.parent.mkdir(parents=True)
    content = shutil.copyfile(own().checkpoint, place).read_bytes()
    card = add_model(own(checkpoint=place), store)
    assert place.read_bytes() == content
    assert store.ensure(card) == {"checkpoint": place}
    assert store.trust.pinned("mine", "w.pth").checked_by == "added by the user"


def test_a_full_disk_takes_nothing_that_was_there(own, store):
    resource = pytest.importorskip("resource", reason="limits of a process are POSIX's")
    notes = store.folder("mine") / "notes.txt"
    notes.parent.mkdir(parents=True)
    notes.write_text("kept")
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, kept[1]))  # the system refuses to write more, as a full disk
    try:
        with pytest.raises(ModelError, match=r"^cannot copy .*w\.pth to .*mine.w\.pth"):
            add_model(own(), store)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
    assert [path.name for path in store.folder("mine").iterdir()] == ["notes.txt"]
    assert "mine" not in model_cards()
    assert store.ensure(add_model(own(), store))


def test_another_file_in_its_place_is_not_overwritten(own, store):
    place = store.folder("mine") / "w.pth"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"something else")
    with pytest.raises(ModelError, match=r"expected nothing at .*w\.pth"):
        add_model(own(), store)
    assert place.read_bytes() == b"something else"
    assert "mine" not in model_cards()


def test_of_two_who_take_an_id_at_once_one_gets_it(own, store):
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(add_model, own(title=title), store) for title in ("first", "second")]
    refused = [future.exception() for future in futures if future.exception()]
    assert [str(exc).startswith("the id 'mine' is taken") for exc in refused] == [True]
    [title] = [future.result().title for future in futures if not future.exception()]
    assert model_card("mine").title == title


@pytest.mark.parametrize(
    ("said", "score"),
    [({}, "iou"), ({"preprocess": "medsam"}, "stability"), ({"preprocess": "medsam", "score": "iou"}, "iou")],
)
def test_the_score_fits_the_training(own, store, said, score):
    assert add_model(own(**said), store).score == score
    assert model_card("mine").score == score


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"preprocess": "medsma"}, "expected a way to prepare slices"),
        ({"score": "dice"}, r"expected a score \(iou, stability\), got 'dice'"),
        ({"input_px": 256}, "expected an input of 192 px for tiny, got --input-px 256"),
        ({"family": "sam3"}, "expected a family"),
    ],
)
def test_what_does_not_fit_is_refused(own, store, said, message):
    with pytest.raises(ModelError, match=message):
        add_model(own(**said), store)
    assert "mine" not in model_cards()


def test_a_title_may_hold_any_character(own, store):
    title = 'Dr. "O\'Neill" \\ 肝臓 🫀 \x7f\t'
    add_model(own(title=title), store)
    assert model_card("mine").title == title


def test_a_pair_of_files_of_one_name_is_usable(own, pair, store):
    add_model(own(checkpoint=pair[0], decoder=pair[1]), store)
    assert sorted(path.name for path in store.folder("mine").iterdir()) == [
        "decoder.onnx",
        "encoder.onnx",
        "model.toml",
    ]
    predictor = load_predictor("mine", "cpu")
    assert predictor.predict(predictor.embed(IMAGE), CLICK).logits.shape == IMAGE.shape


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"preprocess": "medsma"}, "expected a way to prepare slices"),
        ({"input_px": 256}, "256 px and slices prepared as sam, but .* do not answer a click"),
        ({"family": "sam2"}, "do not answer a click: expected a SAM 2 decoder"),
        ({"family": "sam2", "preprocess": "medsam"}, r"expected a way to prepare slices \(sam2\), got 'medsam'"),
    ],
)
def test_a_pair_that_does_not_answer_is_refused(own, pair, store, said, message):
    with pytest.raises(ModelError, match=message):
        add_model(own(checkpoint=pair[0], decoder=pair[1], **said), store)
    assert "mine" not in model_cards()


def test_two_networks_that_do_not_belong_together_are_refused(own, pair, store, tmp_path):
    other = onnx.load(pair[0])
    width = onnx.helper.make_node("Concat", ["embedding", "embedding"], ["image_embeddings"], axis=1)
    next(n for n in other.graph.node if "image_embeddings" in n.output).output[0] = "embedding"
    other.graph.node.append(width)
    del other.graph.output[0].type.tensor_type.shape.dim[:]
    onnx.save(other, tmp_path / "wide.onnx")
    with pytest.raises(ModelError, match=r"wide\.onnx and .*model\.onnx do not answer a click"):
        add_model(own(checkpoint=tmp_path / "wide.onnx", decoder=pair[1]), store)


def test_weights_beside_an_onnx_file_are_refused(own, pair, store, tmp_path):
    onnx.save(onnx.load(pair[0]), tmp_path / "apart.onnx", save_as_external_data=True, location="apart.onnx.data")
    said = own(checkpoint=tmp_path / "apart.onnx", decoder=pair[1])
    with pytest.raises(ModelError, match=r"apart\.onnx keeps its weights in another file \(apart\.onnx\.data\)"):
        add_model(said, store)
    onnx.save(onnx.load(tmp_path / "apart.onnx"), tmp_path / "apart.onnx")  # as the message says
    assert add_model(said, store).id == "mine"


def test_an_archive_runs_on_a_machine_without_torch(own, store, tmp_path):
    add_model(own(), store)
    export_model("mine")
    pack_weights(["mine"], tmp_path / "mine.tar", store)
    there = Store(replace(store.settings, models_dir=tmp_path / "there"))
    assert "mine/onnx-fp32/encoder.onnx" in import_weights(tmp_path / "mine.tar", there)
    code = (
        "import sys\nsys.modules['torch'] = None\nimport numpy as np\n"
        "from promptseg.models.loading import load_predictor\n"
        "from promptseg.models.predictor import SliceImage, SlicePrompts\n"
        "p = load_predictor('mine', 'cpu')\n"
        "e = p.embed(SliceImage(np.zeros((40, 70), np.float32)))\n"
        "print(p.described, p.predict(e, SlicePrompts(box=(5, 5, 30, 40))).logits.shape)"
    )
    env = {**os.environ, "PROMPTSEG_MODELS": str(tmp_path / "there"), "PROMPTSEG_RUNTIME": "onnx"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("ONNX Runtime"), done.stderr
    assert done.stdout.endswith("(40, 70)\n")


@pytest.mark.usefixtures("tiny2")
def test_a_pair_of_sam_2_is_usable_without_a_memory(store):
    export_model("tiny-sam2")
    exported = store.folder("tiny-sam2") / "onnx-fp32"
    said = OwnModel("pair2", exported / "encoder.onnx", decoder=exported / "decoder.onnx", family="sam2", input_px=EDGE)
    assert add_model(said, store).preprocess == "sam2"
    ours, theirs = load_predictor("pair2", "cpu"), load_predictor("tiny-sam2", "cpu")
    assert ours.described.startswith("ONNX Runtime")
    a, b = (p.predict(p.embed(IMAGE), CLICK).logits for p in (ours, theirs))
    assert np.array_equal(a, b)
    assert carrier_of(ours) is None
