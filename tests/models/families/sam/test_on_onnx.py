"""The exported pair against torch, other projects' decoders, and how a model with an export is loaded."""

import json
from dataclasses import replace

import numpy as np
import pytest

from promptseg.errors import DeviceError, ModelError
from promptseg.models.loading import export_model, load_predictor, loaded_models, placement_of
from promptseg.models.predictor import Predictor, Prior, SliceImage, SlicePrompts
from promptseg.models.runtime import Device, choose_placement
from promptseg.models.weights import registry
from promptseg.models.weights.registry import ModelCard, WeightFile
from promptseg.models.weights.store import Store

torch = pytest.importorskip("torch", reason="torch is not installed")
onnx = pytest.importorskip("onnx", reason="onnx is not installed")

pytestmark = pytest.mark.torch

CLICK = SlicePrompts(np.array([[60, 50]], np.float32), np.array([True]))
BOX = SlicePrompts(box=(20, 30, 60, 90))


@pytest.fixture
def card(tiny_arch, tiny_checkpoint, monkeypatch):
    """A tiny SAM in the registry and in the store."""
    file = WeightFile("sam_tiny.pth", hash_source="none published")
    made = ModelCard(
        "tiny-sam",
        "sam",
        "a tiny SAM",
        2,
        ("point",),
        "Apache-2.0",
        True,
        "this test",
        arch=tiny_arch,
        input_px=192,
        preprocess="sam",
        files=(file,),
    )
    package = registry._package_cards()
    monkeypatch.setattr(registry, "_package_cards", lambda: {**package, "tiny-sam": made})
    Store().adopt(made, file, tiny_checkpoint, trust_on_first_use=True)
    loaded_models().clear()
    yield made
    loaded_models().clear()


@pytest.fixture
def image(slices):
    return SliceImage(slices[0].astype(np.float32) / 255, (3.0, 3.0))


def kept_graphs(settings):
    return sorted((settings.cache_dir / "graphs").rglob("*.onnx"))


def test_export_equals_torch_and_is_used_from_then_on(card, image):
    on_torch = load_predictor("tiny-sam", "cpu")
    assert isinstance(on_torch, Predictor)
    assert on_torch.described.startswith("torch ")
    assert load_predictor("tiny-sam", "cpu") is on_torch
    report = export_model("tiny-sam")
    assert report.logits_scale > 0.1
    assert report.logits_max_abs <= 1e-3
    assert report.mask_iou >= 0.999
    on_onnx = load_predictor("tiny-sam", "cpu")
    assert on_onnx is not on_torch
    assert on_onnx.described.startswith("ONNX Runtime")
    a, b = on_torch.embed(image), on_onnx.embed(image)
    prior = Prior(on_torch.predict(a, BOX).logits)
    cases = [(CLICK, None), (BOX, None), (CLICK, prior), (SlicePrompts(), Prior(prior.logits, neighbour=a))]
    many = SlicePrompts(np.random.default_rng(0).uniform(0, 90, (9, 2)).astype(np.float32), np.arange(9) % 2 == 0)
    for prompts, known in [*cases, (many, None)]:
        theirs, ours = on_torch.predict(a, prompts, known), on_onnx.predict(b, prompts, known)
        assert np.abs(theirs.logits - ours.logits).max() <= 1e-3
        assert abs(theirs.score - ours.score) < 1e-4
    assert [m.model_id for m in loaded_models().report()] == ["tiny-sam", "tiny-sam"]
    assert loaded_models().report()[0].nbytes > 1_000_000


def test_the_optimised_graph_is_kept_for_the_next_start(card, image, own_folders):
    export_model("tiny-sam")
    first = load_predictor("tiny-sam", "cpu").embed(image)
    graphs = kept_graphs(own_folders)
    assert len(graphs) == 2
    loaded_models().clear()
    again = load_predictor("tiny-sam", "cpu").embed(image)
    assert np.array_equal(first.features["image"], again.features["image"])
    assert kept_graphs(own_folders) == graphs


def test_a_graph_cache_that_cannot_be_written_costs_time_only(card, image, own_folders):
    export_model("tiny-sam")
    own_folders.cache_dir.mkdir(parents=True)
    (own_folders.cache_dir / "graphs").write_text("in the way")
    assert load_predictor("tiny-sam", "cpu").embed(image).shape == image.shape


@pytest.mark.parametrize("name", ["*.onnx", "*.bin"])
def test_a_spoiled_optimised_graph_is_made_anew(card, image, own_folders, name):
    export_model("tiny-sam")
    first = load_predictor("tiny-sam", "cpu").embed(image)
    graphs = kept_graphs(own_folders)
    for path in (own_folders.cache_dir / "graphs").rglob(name):
        path.write_bytes(path.read_bytes()[:50])
    loaded_models().clear()
    again = load_predictor("tiny-sam", "cpu").embed(image)
    assert np.array_equal(first.features["image"], again.features["image"])
    assert kept_graphs(own_folders) == graphs
    assert min(path.stat().st_size for path in (own_folders.cache_dir / "graphs").rglob(name)) > 50


def test_files_larger_than_the_free_memory_are_refused(card, monkeypatch):
    export_model("tiny-sam")
    monkeypatch.setattr("promptseg.models.checkpoints.available_memory_bytes", lambda: 1000)
    with pytest.raises(ModelError, match=r"encoder\.onnx holds .* bytes, but only 1,000 bytes of memory are free"):
        load_predictor("tiny-sam", "cpu")


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_weights_beyond_protobuf_s_limit_are_one_file_beside_the_encoder(
    card, image, own_folders, precision, monkeypatch
):
    """The exporter writes a file per tensor beyond 2 GiB; here the small network's are taken apart the same way."""
    from promptseg.models import export, loading

    def scattering(network):
        def write(encoder, decoder):
            export.sam_tracer(network)(encoder, decoder)
            model = onnx.load(str(encoder))
            onnx.save(model, str(encoder), save_as_external_data=True, all_tensors_to_one_file=False, size_threshold=0)
            assert len(list(encoder.parent.iterdir())) > 20

        return write

    plain = load_predictor("tiny-sam", "cpu").embed(image).features["image"]
    monkeypatch.setattr(loading, "sam_tracer", scattering)
    report = export_model("tiny-sam", precision)
    folder = own_folders.models_dir / "tiny-sam" / f"onnx-{precision}"
    extra = {"fp32": {"encoder.onnx.data"}, "int8": {"encoder-openvino.onnx"}}.get(precision, set())
    assert {p.name for p in folder.iterdir()} == {"encoder.onnx", "decoder.onnx", "export.json", *extra}
    assert report.bytes == sum(p.stat().st_size for p in folder.iterdir() if p.name != "export.json")
    monkeypatch.setenv("PROMPTSEG_PRECISION", precision)
    for _ in range(2):  # the second time from the graph cache
        loaded_models().clear()
        predictor = load_predictor("tiny-sam", "cpu")
        close = {"fp32": 1e-4, "fp16": 0.05, "int8": 1.0}[precision]
        assert np.abs(predictor.embed(image).features["image"] - plain).max() < close * np.abs(plain).max()
    assert len(kept_graphs(own_folders)) == 2
    assert predictor.nbytes == sum(p.stat().st_size for p in folder.glob("*coder.onnx*"))


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_smaller_exports_are_close_and_asked_for_by_name(card, precision, monkeypatch):
    report = export_model("tiny-sam", precision)
    assert report.precision == precision
    assert report.logits_max_abs < 0.2 * report.logits_scale
    monkeypatch.setenv("PROMPTSEG_PRECISION", precision)
    placed = placement_of(card, "cpu")
    assert (placed.runtime, placed.precision) == ("onnx", precision)
    assert f", {precision}" in load_predictor("tiny-sam", "cpu").described


def test_an_export_of_other_weights_is_not_used(card, own_folders):
    export_model("tiny-sam")
    path = own_folders.models_dir / "tiny-sam" / "onnx-fp32" / "export.json"
    report = json.loads(path.read_text())
    path.write_text(json.dumps({**report, "source_sha256": "0" * 64}))
    assert placement_of(card, "cpu").runtime == "torch"


def test_an_onnx_pair_runs_without_torch_weights(card, own_folders, image):
    export_model("tiny-sam")
    pair = own_folders.models_dir / "tiny-sam" / "onnx-fp32"
    files = (WeightFile("encoder.onnx", "encoder"), WeightFile("decoder.onnx", "decoder"))
    alone = replace(card, id="pair", arch="", files=files)
    own = {**registry._package_cards(), "pair": alone}
    registry_cards, registry._package_cards = registry._package_cards, lambda: own
    try:
        for file in files:
            Store().adopt(alone, file, pair / file.name, trust_on_first_use=True)
        predictor = load_predictor("pair", "cpu")
        assert predictor.predict(predictor.embed(image), BOX).logits.shape == image.shape
    finally:
        registry._package_cards = registry_cards


def test_a_decoder_of_another_kind_says_what_it_has(no_decoder, tmp_path):
    from promptseg.models.families.sam.on_onnx import OnnxSamRunner

    with pytest.raises(ModelError, match=r"expected a SAM decoder .* got a"):
        OnnxSamRunner(no_decoder, no_decoder, Device("cpu"))
    (tmp_path / "y.onnx").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="cannot load the network"):
        OnnxSamRunner(tmp_path / "y.onnx", tmp_path / "y.onnx", Device("cpu"))


def test_what_cannot_be_exported_or_placed_says_why(card):
    with pytest.raises(ModelError, match="family sam or sam2 with a checkpoint"):
        export_model("builtin")
    with pytest.raises(ModelError, match="expected a precision"):
        export_model("tiny-sam", "fp8")
    with pytest.raises(ModelError, match="found a checkpoint; make them with"):
        choose_placement("cpu", has_checkpoint=True, exports=(), runtime="onnx")
    with pytest.raises(DeviceError, match="number 99"):
        load_predictor("tiny-sam", "cuda:99")
    assert str(choose_placement("cpu", has_checkpoint=True, exports=("int8",))).startswith("onnx on cpu in int8")


def test_missing_weights_say_the_command():
    with pytest.raises(ModelError, match="promptseg models pull sam-vit-b"):
        load_predictor("sam-vit-b", "cpu")
    with pytest.raises(ModelError, match="segments whole volumes through its own package"):
        load_predictor("nninteractive", "cpu")
