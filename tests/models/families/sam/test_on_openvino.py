"""The exported encoder on OpenVINO, and the choice of runtimes that are not everywhere."""

from dataclasses import replace

import numpy as np
import pytest

from promptseg.errors import DeviceError, MissingExtraError, ModelError, SettingsError
from promptseg.models import runtime
from promptseg.models.families.sam import onnx_sessions, openvino_rows
from promptseg.models.loading import export_model, load_predictor
from promptseg.models.predictor import SliceImage, SlicePrompts
from promptseg.models.runtime import choose_placement
from promptseg.models.settings import model_settings

from .test_on_onnx import card  # noqa: F401 - a fixture: a tiny SAM in the registry and in the store

pytestmark = pytest.mark.torch

BOX = SlicePrompts(box=(20, 30, 60, 90))


@pytest.fixture
def openvino(monkeypatch):
    made = pytest.importorskip("openvino", reason="openvino is not installed")
    monkeypatch.setattr(runtime, "has_openvino", lambda: True)
    return made


@pytest.mark.usefixtures("card", "openvino")
@pytest.mark.parametrize("block_rows", [(512,), (100, 48)])  # of 144: in one piece, and in three
def test_openvino_equals_torch_and_is_preferred_on_a_cpu(slices, monkeypatch, own_folders, block_rows):
    monkeypatch.setattr(openvino_rows, "BLOCK_ROWS", block_rows)
    image = SliceImage(slices[0].astype(np.float32) / 255, (3.0, 3.0))
    on_torch = load_predictor("tiny-sam", "cpu")
    export_model("tiny-sam")
    fast = load_predictor("tiny-sam", "cpu")
    assert fast.described.startswith("OpenVINO ")
    a, b = on_torch.embed(image), fast.inner.embed(image)
    theirs, ours = on_torch.predict(a, BOX), fast.predict(b, BOX)
    assert np.abs(theirs.logits).max() > 0.1
    assert np.abs(theirs.logits - ours.logits).max() <= 1e-3
    assert (theirs.mask == ours.mask).mean() >= 0.999
    assert np.array_equal(b.features["image"], fast.inner.embed(image).features["image"])
    assert any((own_folders.cache_dir / "graphs" / "openvino").iterdir())  # compiled once per machine
    monkeypatch.setenv("PROMPTSEG_RUNTIME", "onnx")
    assert load_predictor("tiny-sam", "cpu").described.startswith("ONNX Runtime")


@pytest.mark.usefixtures("card", "openvino")
def test_bf16_is_close_or_refused(slices, monkeypatch):
    image = SliceImage(slices[0].astype(np.float32) / 255)
    exact = load_predictor("tiny-sam", "cpu")
    export_model("tiny-sam")
    monkeypatch.setenv("PROMPTSEG_PRECISION", "bf16")
    try:
        half = load_predictor("tiny-sam", "cpu")
    except DeviceError as exc:
        pytest.skip(str(exc))
    assert ", bf16;" in half.described
    a, b = exact.predict(exact.embed(image), BOX), half.predict(half.embed(image), BOX)
    assert 0 < np.abs(a.logits - b.logits).max() < 0.1 * np.abs(a.logits).max()


@pytest.mark.usefixtures("card", "openvino")
def test_int8_is_close_and_has_weights_of_its_own(slices, monkeypatch, own_folders):
    image = SliceImage(slices[0].astype(np.float32) / 255)
    exact = load_predictor("tiny-sam", "cpu")
    export_model("tiny-sam", "int8")
    monkeypatch.setenv("PROMPTSEG_PRECISION", "int8")
    small = load_predictor("tiny-sam", "cpu")
    assert small.described.startswith("OpenVINO ")
    assert ", int8;" in small.described
    a, b = exact.predict(exact.embed(image), BOX), small.predict(small.embed(image), BOX)
    assert 0 < np.abs(a.logits - b.logits).max() < 0.1 * np.abs(a.logits).max()
    folder = own_folders.models_dir / "tiny-sam" / "onnx-int8"
    assert (folder / "encoder-openvino.onnx").stat().st_size < 2 * (folder / "encoder.onnx").stat().st_size


@pytest.mark.usefixtures("card", "openvino")
@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_what_nobody_sees_is_left_out_on_request_on_every_runtime(slices, monkeypatch, own_folders, runtime):
    pixels = np.zeros((200, 300), np.float32)  # a body in the air, on a table
    pixels[30:120, 60:180] = slices[0][:90, :120].astype(np.float32) / 255 + 0.05
    pixels[150:153, 20:280] = 0.5
    image = SliceImage(pixels)
    export_model("tiny-sam")
    whole = load_predictor("tiny-sam", "cpu").embed(image)
    assert whole.features["image"].shape == (256, 12, 12)
    monkeypatch.setenv("PROMPTSEG_TRIM", "1")
    answers = []
    for name in ("torch", runtime):
        monkeypatch.setenv("PROMPTSEG_RUNTIME", name)
        predictor = load_predictor("tiny-sam", "cpu")
        embedding = predictor.embed(image)
        assert embedding.features["image"].shape == (256, 5, 6)
        answers.append(predictor.predict(embedding, SlicePrompts(box=(40, 70, 100, 160))).logits)
    assert np.abs(answers[0] - answers[1]).max() <= 1e-3
    assert (answers[1][150:153] < 0).all()


@pytest.mark.usefixtures("card", "openvino")
def test_a_folder_of_compiled_networks_that_cannot_be_written_costs_time_only(slices, own_folders):
    export_model("tiny-sam")
    own_folders.cache_dir.mkdir(parents=True)
    (own_folders.cache_dir / "graphs").write_text("in the way")
    fast = load_predictor("tiny-sam", "cpu")
    assert fast.described.startswith("OpenVINO ")
    assert fast.embed(SliceImage(slices[0].astype(np.float32) / 255)).features["image"].any()


@pytest.mark.usefixtures("card", "openvino")
def test_a_file_larger_than_the_free_memory_is_refused(monkeypatch):
    export_model("tiny-sam")
    monkeypatch.setattr("promptseg.models.checkpoints.available_memory_bytes", lambda: 1000)
    with pytest.raises(ModelError, match=r"encoder\.onnx holds .* but only 1,000"):
        load_predictor("tiny-sam", "cpu")


@pytest.mark.usefixtures("card", "openvino")
def test_an_export_is_compared_on_openvino_as_well():
    exact, small = export_model("tiny-sam"), export_model("tiny-sam", "int8")
    assert exact.openvino["logits_max_abs"] <= 1e-3
    assert exact.openvino["mask_iou"] >= 0.999
    assert 1e-3 < small.openvino["logits_max_abs"] < 0.2 * small.logits_scale
    assert small.openvino["logits_max_abs"] != small.logits_max_abs  # another file


def test_a_broken_file_is_named(tmp_path):
    pytest.importorskip("openvino", reason="openvino is not installed")
    from promptseg.models.families.sam.on_openvino import OpenVinoSession

    (tmp_path / "y.onnx").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match=r"cannot load the network from .*y\.onnx"):
        OpenVinoSession(tmp_path / "y.onnx")


def test_runtimes_that_are_not_here_say_so(monkeypatch):
    both = {"has_checkpoint": True, "exports": ("fp32", "int8")}
    with pytest.raises(MissingExtraError, match=r'pip install "promptseg\[openvino\]"'):
        choose_placement("cpu", **both, runtime="openvino")
    monkeypatch.setattr(runtime, "has_openvino", lambda: True)
    assert choose_placement("auto", **both, runtime="openvino").runtime == "openvino"
    assert choose_placement("cpu", **both, precision="bf16").precision == "bf16"
    assert choose_placement("cpu", **both, precision="int8").runtime == "onnx"  # exported for ONNX Runtime alone
    own = {"has_checkpoint": True, "exports": ("fp32", "int8", "openvino-int8")}
    assert choose_placement("cpu", **own, precision="int8").runtime == "openvino"
    assert choose_placement("cpu", **own, precision="fp32", runtime="onnx").precision == "fp32"
    assert choose_placement("cpu", has_checkpoint=False, exports=("fp32",)).runtime == "onnx"  # other people's files
    with pytest.raises(DeviceError, match="device cpu or auto for the runtime openvino, got 'cuda'"):
        choose_placement("cuda", **both, runtime="openvino")
    with pytest.raises(ModelError, match="models export"):
        choose_placement("cpu", has_checkpoint=True, exports=("int8",), runtime="openvino")


def test_tensorrt_needs_a_gpu_and_says_what_is_here(monkeypatch, tmp_path):
    both = {"has_checkpoint": True, "exports": ("fp32",), "runtime": "tensorrt"}
    with pytest.raises(DeviceError, match=r"device number 0 and TensorRT.*ONNX Runtime with .*CPUExecutionProvider"):
        choose_placement("auto", **both)
    monkeypatch.setattr(runtime, "onnx_providers", lambda: ("TensorrtExecutionProvider", "CUDAExecutionProvider"))
    monkeypatch.setattr(runtime, "_cuda_count", lambda: 2)
    placed = choose_placement("cuda:1", **both)
    assert (placed.runtime, str(placed.device)) == ("tensorrt", "cuda:1")
    for precision, half in (("fp32", False), ("fp16", True)):
        _, options = onnx_sessions._tensorrt(replace(placed, precision=precision), tmp_path)
        assert options["trt_fp16_enable"] is half
        assert options["device_id"] == 1
    assert placed.precision == "fp16"  # which TensorRT makes itself
    assert choose_placement("cuda:1", **both, precision="fp32").precision == "fp32"
    with pytest.raises(ModelError, match="precision fp32 or fp16 for the runtime tensorrt, found fp32 and precision"):
        choose_placement("cuda:1", **both, precision="bf16")
    with pytest.raises(DeviceError, match="got device 'cpu'"):
        choose_placement("cpu", **both)
    with pytest.raises(ModelError, match="expected an ONNX pair"):
        choose_placement("cuda", has_checkpoint=True, exports=(), runtime="tensorrt")
    monkeypatch.setenv("PROMPTSEG_RUNTIME", "tensort")
    with pytest.raises(SettingsError, match="tensorrt"):
        model_settings()
