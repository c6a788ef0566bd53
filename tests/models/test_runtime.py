"""Which device, runtime and precision are chosen; GPUs are counts that stand in for cards that are not here."""

from types import SimpleNamespace

import pytest

from promptseg.errors import DeviceError, MissingExtraError, ModelError
from promptseg.models import runtime
from promptseg.models.runtime import Device, choose_device, choose_placement

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = pytest.mark.torch

BOTH = {"has_checkpoint": True, "exports": ("fp32", "fp16")}


@pytest.fixture
def gpus(monkeypatch):
    """Sets how many GPUs torch and ONNX Runtime see, and of what generation they are."""

    def see(by_torch=0, by_onnx=0, capability=(8, 0)):
        monkeypatch.setattr(runtime, "torch_cuda_count", lambda: by_torch)
        monkeypatch.setattr(runtime, "_cuda_count", lambda: by_onnx)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _index: capability)

    return see


def chosen(requested, **known):
    placed = choose_placement(requested, **{**BOTH, **known})
    return placed.runtime, str(placed.device), placed.precision


@pytest.mark.parametrize(
    ("capability", "precision"), [((7, 5), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16"), ((12, 0), "bf16")]
)
def test_a_gpu_that_torch_sees_wins_in_the_half_precision_that_it_multiplies(gpus, capability, precision):
    gpus(by_torch=2, by_onnx=2, capability=capability)
    assert chosen("auto") == ("torch", "cuda:0", precision)
    assert chosen("cuda:1") == ("torch", "cuda:1", precision)
    assert chosen("auto", precision="fp32") == ("torch", "cuda:0", "fp32")
    assert chosen("cpu") == ("onnx", "cpu", "fp32")


def test_a_gpu_that_only_onnx_runtime_sees_runs_the_export(gpus):
    gpus(by_onnx=2)
    assert chosen("auto") == ("onnx", "cuda:0", "fp16")
    assert chosen("cuda:1", exports=("fp32",)) == ("onnx", "cuda:1", "fp32")
    assert chosen("auto", precision="fp32") == ("onnx", "cuda:0", "fp32")
    assert chosen("auto", exports=()) == ("torch", "cpu", "fp32")
    gpus(by_torch=1, by_onnx=1)
    assert chosen("auto", runtime="onnx") == ("onnx", "cuda:0", "fp16")
    assert chosen("auto", exports=("int8",), precision="int8") == ("onnx", "cuda:0", "int8")
    assert chosen("auto", has_checkpoint=False, exports=("fp32",)) == ("onnx", "cuda:0", "fp32")


def test_a_gpu_that_is_not_there_is_an_error_and_never_the_cpu(gpus):
    gpus(by_torch=1)
    with pytest.raises(DeviceError, match=r"number 1; torch sees 1, ONNX Runtime 0"):
        choose_placement("cuda:1", **BOTH)
    with pytest.raises(DeviceError, match=r"expected a device \(auto, cpu, cuda or cuda:N\), got 'tpu'"):
        choose_placement("tpu", **BOTH)
    with pytest.raises(DeviceError, match="number 0, found 0 usable"):
        choose_device("cuda")
    gpus(by_onnx=2)
    assert (choose_device("auto"), choose_device("cuda:1")) == (Device("cuda", 0), Device("cuda", 1))


def test_without_torch_a_checkpoint_needs_it_or_an_export(gpus, monkeypatch):
    gpus()
    find = runtime.find_spec
    monkeypatch.setattr(runtime, "find_spec", lambda name: None if name == "torch" else find(name))
    with pytest.raises(MissingExtraError, match=r"promptseg\[sam\]"):
        choose_placement("cpu", has_checkpoint=True, exports=())
    assert chosen("cpu") == ("onnx", "cpu", "fp32")
    with pytest.raises(ModelError, match="found a checkpoint, ONNX fp32, ONNX fp16"):
        choose_placement("cpu", **BOTH, runtime="torch")


def test_torch_on_a_cpu_is_fp32_or_bf16_on_request(gpus):
    gpus()
    assert chosen("cpu", exports=()) == ("torch", "cpu", "fp32")
    assert chosen("cpu", exports=(), precision="bf16") == ("torch", "cpu", "bf16")
    assert chosen("cpu", precision="fp16") == ("onnx", "cpu", "fp16")  # slow, but exact, and asked for
    with pytest.raises(DeviceError, match="got fp16"):
        choose_placement("cpu", has_checkpoint=True, exports=(), precision="fp16")


class Part:
    """Stands in for a network's half on a card that is not here: it remembers where it was sent."""

    def __init__(self):
        self.sent = []

    def to(self, *where, **how):
        self.sent.append((*map(str, where), *how.values()))
        return self


@pytest.mark.parametrize(("device", "is_last"), [(Device("cuda", 1), True), (Device("cpu"), False)])
def test_channels_go_last_on_a_gpu_only(device, is_last):
    from promptseg.models.families.sam.on_torch import TorchSamRunner

    network = SimpleNamespace(encoder=Part(), decoder=Part(), input_px=192, edge=12, state=dict)
    TorchSamRunner(network, device, "bf16")
    assert ((torch.channels_last,) in network.encoder.sent) is is_last
    assert network.encoder.sent[0] == network.decoder.sent[0] == (str(device),)


@pytest.mark.parametrize(("precision", "kind"), [("bf16", torch.bfloat16), ("fp32", None)])
def test_autocast_takes_the_precision_that_was_chosen(precision, kind):
    from promptseg.models.families.sam.on_torch import TorchSamRunner

    network = SimpleNamespace(encoder=Part(), decoder=Part(), input_px=192, edge=12, state=dict)
    with TorchSamRunner(network, Device("cpu"), precision)._autocast():
        assert torch.is_autocast_enabled("cpu") is (kind is not None)
        assert kind is None or torch.get_autocast_dtype("cpu") is kind


def test_slices_go_together_to_a_gpu_and_one_by_one_to_a_cpu():
    import numpy as np

    from promptseg.models.families.sam.on_onnx import OnnxSamRunner
    from promptseg.models.families.sam.planes import Planes

    unchanged = np.zeros(3, np.float32), np.ones(3, np.float32)
    runner, runs = object.__new__(OnnxSamRunner), []

    class Session:
        def get_inputs(self):
            return [SimpleNamespace(name="pixels", type="tensor(float)", shape=["slices", 3, "h", "w"])]

        def run(self, _outputs, feed):
            runs.append(len(feed["pixels"]))
            return [feed["pixels"] * 2]

    runner._encoder, runner._half = Session(), False
    for together, expected in ((True, [3]), (False, [1, 1, 1])):
        runs.clear()
        runner._together = together
        made = runner.encode([Planes(np.full((1, 1, 1), v, np.uint8), (1, 1), (1, 1), *unchanged) for v in range(3)])
        assert runs == expected
        assert [one["image"].tolist() for one in made] == [[[[0.0]]] * 3, [[[2.0]]] * 3, [[[4.0]]] * 3]
