"""nnInteractive: the doors before it, and its own session with a network that can be predicted."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from promptseg.errors import DeviceError, MissingExtraError, ModelError, PromptError
from promptseg.models.families import nninteractive
from promptseg.models.weights.registry import model_card

pytestmark = pytest.mark.torch

CARD = model_card("nninteractive")
Z, Y, X = np.mgrid[:20, :34, :41]
BALL = ((Z - 9) ** 2 / 25 + (Y - 12) ** 2 / 49 + (X - 27) ** 2 / 64) < 1  # nowhere symmetric, off the middle
VOXELS = np.where(BALL, 300.0, -100.0).astype(np.float32)


@pytest.fixture
def weights(store):
    fold = store.folder("nninteractive") / "nnInteractive_v1.0" / "fold_0"
    fold.mkdir(parents=True)
    (fold.parent / "plans.json").write_text("{}")
    (fold / "checkpoint_final.pth").write_bytes(b"weights")
    return fold / "checkpoint_final.pth"


def test_every_door_says_how_it_opens(store, weights, monkeypatch):
    with pytest.raises(ModelError, match=r"CC-BY-NC-SA-4.0.*pull nninteractive --accept-licence"):
        nninteractive.open_volume(VOXELS, CARD, store)
    store.pull(CARD, accept_licence=True)
    monkeypatch.setitem(sys.modules, "nnInteractive.inference.inference_session", None)
    with pytest.raises(MissingExtraError, match=r'pip install "promptseg\[nninteractive\]"'):
        nninteractive.open_volume(VOXELS, CARD, store)
    made = []
    monkeypatch.setattr(nninteractive, "_session_class", lambda: made.append)
    with pytest.raises(ModelError, match=r"loading it can run code.*trust_on_first_use=True"):
        nninteractive.open_volume(VOXELS, CARD, store)
    pytest.importorskip("torch", reason="torch is not installed")
    with pytest.raises(DeviceError, match="device number 99"):
        nninteractive.open_volume(VOXELS, CARD, store, device="cuda:99", trust_on_first_use=True)
    weights.write_bytes(b"other weights")
    with pytest.raises(ModelError, match="has changed: expected sha256"):
        nninteractive.open_volume(VOXELS, CARD, store, trust_on_first_use=True)
    (weights.parents[1] / "plans.json").unlink()
    with pytest.raises(ModelError, match=r"expected one model of nnInteractive in .*found 0"):
        nninteractive.open_volume(VOXELS, CARD, store)
    assert made == []


@pytest.fixture
def volume():
    """The package's own session; its network answers where the image is bright."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    reason = "nninteractive is not installed; beside the extra dev: pip install --no-deps nninteractive==2.6.0"
    package = pytest.importorskip("nnInteractive.inference.inference_session", reason=reason, exc_type=ImportError)

    class Bright(torch.nn.Module):
        def forward(self, x):
            return torch.stack([-x[:, 0], x[:, 0]], 1)

    session = package.nnInteractiveInferenceSession(device=torch.device("cpu"), torch_n_threads=1)
    point = sys.modules["nnInteractive.interaction.point"].PointInteraction_stub(4, True)
    session.initialize_from_loaded_artifacts(
        {
            "preferred_scribble_thickness": [2, 2, 2],
            "interaction_decay": 0.98,
            "pad_mode_data": "constant",
            "point_interaction": point,
            "capability_content": {},
            "plans_manager": None,
            "configuration_manager": SimpleNamespace(patch_size=[32, 32, 32]),
            "network": Bright(),
            "dataset_json": None,
            "trainer_name": "none",
            "label_manager": None,
            "license": "none",
        }
    )
    made = nninteractive.NnInteractiveVolume(session, VOXELS)
    yield made
    session._finish_preprocessing_and_initialize_interactions()
    session.executor.shutdown()  # else its own thread may be the one that deletes it, and wait for itself


def test_hints_are_in_zyx_and_change_the_mask_in_place(volume):
    assert not volume.mask.any()
    changed = volume.add_point((9, 12, 27))
    found = volume.mask
    assert found[BALL].mean() > 0.95
    assert found[~BALL].mean() < 0.05
    places = np.argwhere(found)
    assert all(changed[i] <= places[:, i].min() for i in range(3))
    assert all(changed[3 + i] > places[:, i].max() for i in range(3))
    volume.reset()
    assert not volume.mask.any()
    volume.add_box((9, 5, 19, 10, 20, 36))
    assert volume.mask[BALL].mean() > 0.95
    volume.start_from(BALL)
    assert np.array_equal(volume.mask, BALL)
    stroke = np.zeros_like(BALL)
    stroke[9, 12, 24:30] = True
    volume.add_scribble(stroke)
    volume.add_lasso(stroke, positive=False)
    assert volume.mask.any()


def test_hints_that_make_no_sense_are_refused(volume):
    with pytest.raises(PromptError, match="inside the volume"):
        volume.add_point((9, 40, 27))
    with pytest.raises(PromptError, match="one voxel thick"):
        volume.add_box((1, 1, 1, 4, 4, 4))
    with pytest.raises(PromptError, match="some voxels painted"):
        volume.add_scribble(np.zeros((2, 3, 4), bool))
    with pytest.raises(PromptError, match=r"expected a volume \(z, y, x\)"):
        nninteractive.NnInteractiveVolume(None, VOXELS[0])
