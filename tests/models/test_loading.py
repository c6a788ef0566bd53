"""From an id to a loaded model: what decides that it is another one, which of several GPUs, and concurrent requests."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from promptseg.errors import DeviceError
from promptseg.models import loading, runtime
from promptseg.models.families.oracle import OraclePredictor
from promptseg.models.loaded import LoadedModels
from promptseg.models.loading import load_predictor, loaded_models, placement_of
from promptseg.models.own_models import OwnModel, add_model
from promptseg.models.predictor import SliceImage
from promptseg.models.weights import registry
from promptseg.models.weights.registry import WeightFile, model_card
from promptseg.models.weights.store import Store

from .families.sam.test_on_onnx import card  # noqa: F401 - a fixture: a tiny SAM in the registry and in the store

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = pytest.mark.torch


@pytest.fixture
def image(slices):
    return SliceImage(slices[0].astype(np.float32) / 255, (3.0, 3.0))


def stored(settings):
    return list((settings.cache_dir / "embeddings").glob("*/*.npz"))


def test_the_same_weights_prepared_otherwise_are_another_model(
    tiny_arch, tiny_checkpoint, image, monkeypatch, own_folders
):
    monkeypatch.setenv("PROMPTSEG_EMBEDDINGS_MB", "50")
    loaded_models().clear()
    made = {}
    for preprocess in ("sam", "medsam"):
        add_model(OwnModel("my", tiny_checkpoint, arch=tiny_arch, preprocess=preprocess, input_px=192), Store())
        predictor = load_predictor("my", "cpu")
        made[preprocess] = predictor.embed(image).features["image"]
        fresh = predictor.inner.embed(image).features["image"].astype(np.float16).astype(np.float32)
        assert np.array_equal(made[preprocess], fresh)
        Store().remove(model_card("my"))
    assert not np.array_equal(made["sam"], made["medsam"])
    assert len(stored(own_folders)) == 2


@pytest.mark.usefixtures("card")
def test_why_a_device_was_chosen_does_not_decide_what_is_on_the_disk(image, monkeypatch, own_folders):
    monkeypatch.setenv("PROMPTSEG_EMBEDDINGS_MB", "50")
    first = load_predictor("tiny-sam", "cpu").embed(image)
    loaded_models().clear()
    choose = loading.choose_placement
    monkeypatch.setattr(loading, "choose_placement", lambda *a, **k: replace(choose(*a, **k), reason="other words"))
    again = load_predictor("tiny-sam", "cpu").embed(image)
    assert np.array_equal(first.features["image"], again.features["image"])
    assert len(stored(own_folders)) == 1


@pytest.fixture
def two_gpus(monkeypatch):
    """What torch says with two of them; ONNX Runtime sees none."""
    for module in (runtime, loading):
        monkeypatch.setattr(module, "torch_cuda_count", lambda: 2, raising=False)
    monkeypatch.setattr(loading, "torch_gpu_bytes", lambda _device: 1000, raising=False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _index: (8, 0))
    monkeypatch.setattr(loading, "_LOADED", None)


@pytest.fixture
def placed(monkeypatch):
    """Devices on which models were opened, by the model's id; nothing is really loaded."""
    opened = []

    class Fake(OraclePredictor):
        nbytes = 300
        described = "a fake"

        def __init__(self, model_id):
            super().__init__()
            self._id = model_id

        @property
        def model_id(self):
            return self._id

    def open_fake(card, _weights, placement, _settings):  # noqa: F811 - a card
        opened.append((card.id, str(placement.device)))
        return Fake(card.id)

    monkeypatch.setitem(loading._ON_DISK, "sam", open_fake)
    return opened


def also(card, model_id, checkpoint, monkeypatch):  # noqa: F811 - the card
    """The same model under another id."""
    before = registry._package_cards()
    made = replace(card, id=model_id)
    monkeypatch.setattr(registry, "_package_cards", lambda: {**before, model_id: made})
    Store().adopt(made, made.files[0], checkpoint, trust_on_first_use=True)


@pytest.mark.usefixtures("two_gpus")
def test_what_cannot_use_the_gpus_that_torch_sees_runs_on_the_cpu(card, tiny_checkpoint, monkeypatch):  # noqa: F811
    assert str(placement_of(card, "auto").device) == "cuda:0"
    pair = replace(
        card, id="pair", files=(WeightFile("encoder.onnx", "encoder"), WeightFile("decoder.onnx", "decoder"))
    )
    for file in pair.files:
        Store().adopt(pair, file, tiny_checkpoint, trust_on_first_use=True)
    assert str(placement_of(pair, "auto").device) == "cpu"
    with pytest.raises(DeviceError, match="ONNX Runtime 0"):
        placement_of(pair, "cuda")
    monkeypatch.setattr(loading, "exported", lambda *_: {"fp32": {}, "int8": {}})
    for name, value in (("PROMPTSEG_PRECISION", "int8"), ("PROMPTSEG_RUNTIME", "onnx")):
        with monkeypatch.context() as only_here:
            only_here.setenv(name, value)
            assert str(placement_of(card, "auto")).startswith("onnx on cpu")


@pytest.mark.usefixtures("two_gpus")
def test_models_are_spread_over_gpus_and_each_is_loaded_once(card, placed, tiny_checkpoint, monkeypatch):  # noqa: F811
    also(card, "other", tiny_checkpoint, monkeypatch)
    also(card, "third", tiny_checkpoint, monkeypatch)
    first = load_predictor("tiny-sam")
    assert load_predictor("tiny-sam") is first  # not a copy on the GPU that is emptier now
    load_predictor("other", "cuda")
    load_predictor("other")
    assert placed == [("tiny-sam", "cuda:0"), ("other", "cuda:1")]
    assert load_predictor("tiny-sam", "cuda:1") is not first  # asked for by name
    load_predictor("third")  # 300 of 500 bytes are on the one, 600 on the other, where the oldest had to go
    assert placed[2:] == [("tiny-sam", "cuda:1"), ("third", "cuda:0")]
    assert [(m.model_id, m.device) for m in loaded_models().report()] == [
        ("tiny-sam", "cuda:1"),
        ("third", "cuda:0"),
    ]
    assert load_predictor("third").batch == loading.GPU_BATCH
    assert load_predictor("third", "cpu").batch == 1


@pytest.mark.usefixtures("two_gpus")
def test_a_load_in_flight_counts(card, placed, tiny_checkpoint, monkeypatch):  # noqa: F811
    also(card, "other", tiny_checkpoint, monkeypatch)
    begun, gate, open_fake = threading.Event(), threading.Event(), loading._ON_DISK["sam"]

    def slow(*given):
        begun.set()
        assert gate.wait(60)
        return open_fake(*given)

    with ThreadPoolExecutor(2) as pool:
        monkeypatch.setitem(loading._ON_DISK, "sam", slow)
        waiting = pool.submit(load_predictor, "tiny-sam")
        assert begun.wait(60)
        monkeypatch.setitem(loading._ON_DISK, "sam", open_fake)
        load_predictor("other")
        gate.set()
        waiting.result()
    assert sorted(placed) == [("other", "cuda:1"), ("tiny-sam", "cuda:0")]


def test_a_real_model_is_loaded_once_by_many_and_goes_when_another_needs_its_memory(
    card,  # noqa: F811
    image,
    tiny_checkpoint,
    monkeypatch,
):
    from promptseg.models.networks import architectures

    also(card, "other", tiny_checkpoint, monkeypatch)
    reads, read = [], architectures.read_state

    def counted(path, expected_bytes=0):
        reads.append(path.parent.name)
        return read(path, expected_bytes)

    monkeypatch.setattr(architectures, "read_state", counted)
    size = load_predictor("tiny-sam", "cpu").nbytes
    monkeypatch.setattr(loading, "_LOADED", LoadedModels(size * 3 // 2))
    reads.clear()

    def ask(_):
        predictor = load_predictor("tiny-sam", "cpu")
        return predictor, predictor.embed(image)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(16)))
    assert reads == ["tiny-sam"]
    assert len({id(predictor) for predictor, _ in answers}) == 1
    assert len({id(embedding) for _, embedding in answers}) == 1
    report = loaded_models().report()
    assert [(m.model_id, m.nbytes, m.held_bytes) for m in report] == [("tiny-sam", size, answers[0][1].nbytes)]
    load_predictor("other", "cpu")
    assert [m.model_id for m in loaded_models().report()] == ["other"]
    load_predictor("tiny-sam", "cpu")
    assert reads == ["tiny-sam", "other", "tiny-sam"]


@pytest.mark.usefixtures("card")
def test_fp16_by_torch_on_a_cpu_is_refused(monkeypatch):
    monkeypatch.setenv("PROMPTSEG_PRECISION", "fp16")
    with pytest.raises(DeviceError, match="expected fp32 or bf16 for torch on a CPU, got fp16"):
        load_predictor("tiny-sam", "cpu")


@pytest.mark.usefixtures("card")
def test_a_full_gpu_is_said_at_loading(monkeypatch):
    def full(*_given):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setitem(loading._ON_DISK, "sam", full)
    with pytest.raises(DeviceError, match="expected memory for model 'tiny-sam', but cpu has none left"):
        load_predictor("tiny-sam", "cpu")
